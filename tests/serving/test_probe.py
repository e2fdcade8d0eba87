import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from socketserver import ThreadingUnixStreamServer, UnixStreamServer

import pytest

from common.ports import free_ports
from serving.health.gateway_client import ask_gateway
from serving.health.heartbeats import STUCK_S, live_workers
from serving.health.probe import DEAD_S, check, is_live, main
from serving.health.torchserve_client import NO_IMAGE, torchserve_status
from tests import zoo


def beat(run: Path, pid: int, age: float = 0, busy: float | None = None, batches: int = 0) -> None:
    folder = run / "heartbeats"
    folder.mkdir(exist_ok=True)
    now = time.time()
    since = None if busy is None else now - busy
    content = {"pid": pid, "time": now - age, "busy_since": since, "batches": batches}
    (folder / f"{pid}.json").write_text(json.dumps(content))


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return tmp_path


@pytest.fixture
def frontend(run: Path) -> Iterator[None]:
    """Answers on the inference socket as TorchServe does, its /ping even with no model."""

    class Healthy(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/ping" else NO_IMAGE)
            self.end_headers()

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    with UnixStreamServer(str(run / "inference.sock"), Healthy) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield
        server.shutdown()
        thread.join()


@pytest.mark.usefixtures("frontend")
def test_a_frontend_without_workers_is_not_ready(run: Path) -> None:
    health = check(run)
    assert (health.ready, health.reason) == (False, "no worker can answer")


@pytest.mark.usefixtures("frontend")
def test_one_worker_that_beats_is_enough(run: Path) -> None:
    beat(run, os.getpid())
    assert check(run).ready


def test_workers_without_a_frontend_are_not_ready(run: Path) -> None:
    beat(run, os.getpid())
    assert check(run).reason == "the frontend does not answer"


def test_a_worker_that_ended_does_not_count_though_its_file_is_fresh(run: Path) -> None:
    beat(run, ended())
    assert live_workers(run / "heartbeats", time.time()) == []


def test_a_worker_that_stopped_beating_does_not_count(run: Path) -> None:
    beat(run, os.getpid(), age=3)
    assert live_workers(run / "heartbeats", time.time()) == []


@pytest.mark.parametrize(("busy", "counts"), [(0.1, True), (9, True), (13, False)])
def test_a_busy_worker_counts_and_a_stuck_one_does_not(run: Path, busy: float, counts: bool) -> None:
    beat(run, os.getpid(), busy=busy)
    assert bool(live_workers(run / "heartbeats", time.time())) is counts


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"pid": "x"}', '{"pid": 1, "busy_since": "x", "time": 0}'])
def test_a_file_that_is_no_heartbeat_does_not_count(run: Path, content: str) -> None:
    beat(run, os.getpid())
    (run / "heartbeats" / f"{os.getpid()}.json").write_text(content)
    assert live_workers(run / "heartbeats", time.time()) == []
    assert is_live(run, time.time()).reason == "the frontend does not answer"


def age(run: Path, seconds: float) -> None:
    """Change the files' times as if nothing had been written to the folder for so long."""
    then = time.time() - seconds
    for path in [*(run / "heartbeats").glob("*.json"), run]:
        os.utime(path, (then, then))


def ended() -> int:
    """The id of a process that was."""
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    return child.pid


@pytest.mark.usefixtures("frontend")
def test_a_server_whose_workers_are_being_replaced_is_alive_though_not_ready(run: Path) -> None:
    beat(run, ended())
    age(run, DEAD_S - 10)
    assert not check(run).ready
    assert is_live(run, time.time()).ready


@pytest.mark.usefixtures("frontend")
def test_a_server_whose_workers_stay_away_is_dead(run: Path) -> None:
    beat(run, ended())
    age(run, DEAD_S + 10)
    health = is_live(run, time.time())
    assert (health.ready, health.reason) == (False, "no worker has given a sign of life for 60 s")


@pytest.mark.usefixtures("frontend")
@pytest.mark.parametrize(
    ("busy", "lives"), [(1, True), (STUCK_S - 1, True), (STUCK_S + 1, True), (DEAD_S - 10, True), (DEAD_S + 10, False)]
)
def test_a_busy_or_even_stuck_worker_is_alive_while_it_may_be_replaced(run: Path, busy: float, lives: bool) -> None:
    """TorchServe does that; a restart of everything would take longer."""
    beat(run, os.getpid(), busy=busy)
    os.utime(run, (0, 0))
    assert is_live(run, time.time()).ready is lives


@contextlib.contextmanager
def deaf(run: Path, meanwhile: Callable[[], None], full: bool) -> Iterator[None]:
    """A frontend that is there, but brings no request to a worker: it says that its queue is full, or nothing.

    Args:
        meanwhile: done when a request has come.
    """
    leave = threading.Event()

    class Deaf(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path != "/ping":
                meanwhile()
                if not full:
                    leave.wait(20)
            self.send_response(503 if full and self.path != "/ping" else 200)
            with contextlib.suppress(BrokenPipeError):
                self.end_headers()

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    with ThreadingUnixStreamServer(str(run / "inference.sock"), Deaf) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield
        finally:
            leave.set()
            server.shutdown()
            thread.join()


@pytest.mark.parametrize("full", [False, True])
def test_workers_that_wait_while_no_request_reaches_them_are_of_no_use(
    run: Path, full: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serving.health.probe.PATIENT_S", 0.5)
    beat(run, os.getpid(), age=-30, batches=7)
    with deaf(run, lambda: None, full):
        assert check(run).ready
        health = is_live(run, time.time())
    assert (health.ready, health.workers, health.reason) == (False, 1, "no request reaches the workers")


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("change", ["has ended a batch", "has begun one", "is replaced"])
def test_workers_that_do_something_meanwhile_are_alive(
    run: Path, full: bool, change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serving.health.probe.PATIENT_S", 0.5)

    def works() -> None:
        if change == "is replaced":
            (run / "heartbeats" / f"{os.getpid()}.json").unlink()
        elif change == "has begun one":
            beat(run, os.getpid(), age=-30, batches=7, busy=0.1)
        else:
            beat(run, os.getpid(), age=-30, batches=8)

    beat(run, os.getpid(), age=-30, batches=7)
    with deaf(run, works, full):
        assert is_live(run, time.time()).ready


@pytest.mark.parametrize("token", ["a-secret-token", None])
def test_torchserve_is_shown_the_token_of_its_folder_if_there_is_one(run: Path, token: str | None) -> None:
    headers: list[str | None] = []

    class Asked(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            headers.append(self.headers["Authorization"])
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    if token is not None:
        (run / "inference.key").write_text(f"{token}\n")
    with UnixStreamServer(str(run / "inference.sock"), Asked) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        assert torchserve_status(run, "/ping", 5) == 200
        thread.join()
    assert headers == [token and f"Bearer {token}"]


def test_a_busy_worker_is_sent_nothing_by_the_one_who_asks_whether_it_is_alive(run: Path) -> None:
    sent = []
    beat(run, os.getpid(), age=-30, busy=5)
    with deaf(run, lambda: sent.append(1), full=True):
        assert is_live(run, time.time()).ready
    assert sent == []


@pytest.mark.usefixtures("frontend")
def test_a_server_that_never_had_a_worker_is_alive_while_it_may_still_start(run: Path) -> None:
    (run / "heartbeats").mkdir()
    age(run, DEAD_S - 10)
    assert is_live(run, time.time()).ready
    age(run, DEAD_S + 10)
    assert not is_live(run, time.time()).ready


def test_a_frontend_that_does_not_answer_is_dead_whatever_its_workers_do(run: Path) -> None:
    beat(run, os.getpid())
    health = is_live(run, time.time())
    assert (health.ready, health.workers, health.reason) == (False, 1, "the frontend does not answer")


@pytest.mark.usefixtures("frontend")
@pytest.mark.parametrize("question", ["startup", "ready", "live"])
def test_yes_is_0_and_says_nothing(run: Path, question: str, capsys: pytest.CaptureFixture[str]) -> None:
    beat(run, os.getpid())
    assert main([question, str(run)]) == 0
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("question", "reason"),
    [
        ("startup", "no worker can answer"),
        ("ready", "no worker can answer"),
        ("live", "the frontend does not answer"),
    ],
)
def test_no_is_1_and_says_why(run: Path, question: str, reason: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([question, str(run)]) == 1
    assert capsys.readouterr() == ("", f"{question}: no, {reason}\n")


@pytest.mark.parametrize("question", ["startup", "ready", "live"])
def test_a_folder_that_is_not_there_is_no(run: Path, question: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([question, str(run / "none")]) == 1
    assert capsys.readouterr().err.startswith(f"{question}: no, ")


@pytest.mark.parametrize("arguments", [[], ["ready"], ["ready", "a", "b"], ["alive", "a"]])
def test_wrong_usage_is_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    assert capsys.readouterr().err.startswith("usage: ")


def test_it_runs_as_a_pod_runs_it_with_nothing_but_the_standard_library(run: Path) -> None:
    command = [sys.executable, "-S", "-m", "serving.health.probe", "ready", str(run)]
    done = subprocess.run(command, cwd=zoo.ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (1, "ready: no, no worker can answer\n")


@pytest.fixture
def gateway() -> Iterator[HTTPServer]:
    """Alive, and not ready."""

    class Gateway(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/livez" else 503)
            self.end_headers()
            self.wfile.write(b'{"ready":false,"reason":"draining"}')

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Gateway) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_the_gateway_may_be_asked_from_outside(gateway: HTTPServer, capsys: pytest.CaptureFixture[str]) -> None:
    url = f"http://127.0.0.1:{gateway.server_port}"
    assert ask_gateway("live", url) == 0
    assert capsys.readouterr() == ("", "")
    for question in ("startup", "ready"):
        assert ask_gateway(question, url) == 1
        message = capsys.readouterr().err
        assert message == f'{question}: no, {url}/readyz answers 503: {{"ready":false,"reason":"draining"}}\n'


def test_a_gateway_that_is_not_there_is_no(capsys: pytest.CaptureFixture[str]) -> None:
    (port,) = free_ports(1)
    assert ask_gateway("live", f"http://127.0.0.1:{port}") == 1
    assert f"live: no, http://127.0.0.1:{port} does not answer: " in capsys.readouterr().err


@pytest.mark.parametrize(
    "url", ["127.0.0.1:8080", "localhost", "", "http://", "http://[broken", "http://x:y", "ftp://x"]
)
def test_what_is_no_address_is_wrong_usage(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert ask_gateway("ready", url) == 2
    assert "is not a URL such as http://127.0.0.1:8080" in capsys.readouterr().err


def command(*arguments: str, run: Path | None = None) -> "subprocess.CompletedProcess[str]":
    environment = {key: value for key, value in os.environ.items() if key != "CATSDOGS_RUN"}
    if run is not None:
        environment["CATSDOGS_RUN"] = str(run)
    return subprocess.run(
        [sys.executable, "-m", "catsdogs", "probe", *arguments],
        cwd=zoo.ROOT,
        env=environment,
        capture_output=True,
        text=True,
    )


@pytest.mark.usefixtures("frontend")
def test_the_verb_looks_at_a_folder_where_it_has_one_and_asks_the_gateway_where_not(
    run: Path, gateway: HTTPServer
) -> None:
    url = f"http://127.0.0.1:{gateway.server_port}"
    # The command takes longer to start than a beat lasts.
    beat(run, os.getpid(), age=-30)
    assert command("ready", "--run", str(run)).returncode == 0
    assert command("ready", run=run).returncode == 0
    assert command("live", "--url", url).returncode == 0
    no = command("ready", "--url", url)
    assert (no.returncode, no.stderr.count("\n")) == (1, 1)
    assert command("alive").returncode == 2
