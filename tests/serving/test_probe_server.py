"""The probe's server, on its own socket; tests/e2e/test_readiness.py puts a whole server under a flood of questions."""

import asyncio
import contextlib
import http.client
import json
import os
import socket
import stat
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from serving.health import probe_server
from serving.health.probe import Health
from serving.health.probe_server import SLOTS, ProbeServer
from serving.health.torchserve_client import UnixConnection
from tests.serving.test_endpoints import MODEL, NOT_READY, READY

ASKED = b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n"


class Workers:
    """Stands for the workers: `health` is what a look at them finds, once `answers` is set."""

    def __init__(self) -> None:
        self.health = READY
        self.looks = 0
        self.answers = threading.Event()
        self.answers.set()

    def look(self, *arguments: object) -> Health:
        self.looks += 1
        assert self.answers.wait(30)
        return self.health


@pytest.fixture
def readiness(monkeypatch: pytest.MonkeyPatch) -> Workers:
    workers = Workers()
    monkeypatch.setattr(probe_server, "check", workers.look)
    return workers


@pytest.fixture
def liveness(monkeypatch: pytest.MonkeyPatch) -> Workers:
    workers = Workers()
    monkeypatch.setattr(probe_server, "is_live", workers.look)
    return workers


@contextlib.contextmanager
def serving(run: Path) -> Iterator[ProbeServer]:
    server = ProbeServer(run, MODEL)
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture
def server(tmp_path: Path, readiness: Workers, liveness: Workers) -> Iterator[ProbeServer]:
    with serving(tmp_path) as server:
        yield server


def ask(run: Path, path: str, method: str = "GET", **headers: str) -> tuple[int, Any]:
    with closing(UnixConnection(run / "probe.sock", 10)) as connection:
        connection.request(method, path, headers=headers)
        response = connection.getresponse()
        return response.status, json.loads(response.read())


async def one_of_many(run: Path, requests: int, asked: bytes = ASKED) -> list[bytes]:
    """Return the first lines of the answers to one client's requests, one after the other."""
    reader, writer = await asyncio.open_unix_connection(str(run / "probe.sock"))
    lines = []
    for _ in range(requests):
        writer.write(asked)
        lines.append(await reader.readline())
        head = await reader.readuntil(b"\r\n\r\n")
        (length,) = [line.split(b":")[1] for line in head.split(b"\r\n") if line.startswith(b"Content-Length")]
        await reader.readexactly(int(length))
    writer.close()
    return lines


def flood(run: Path, clients: int, requests: int, asked: bytes = ASKED) -> set[bytes]:
    async def every() -> list[list[bytes]]:
        return await asyncio.gather(*(one_of_many(run, requests, asked) for _ in range(clients)))

    return {line for lines in asyncio.run(every()) for line in lines}


def its_threads() -> int:
    return sum(thread.name.startswith("probe") for thread in threading.enumerate())


@pytest.mark.usefixtures("server")
def test_the_answer_follows_the_workers(tmp_path: Path, readiness: Workers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe_server, "FRESH_S", 0)
    assert ask(tmp_path, "/readyz") == (200, {"ready": True, "workers": 2})
    assert ask(tmp_path, "/ping") == (200, {"status": "Healthy"})
    readiness.health = NOT_READY
    assert ask(tmp_path, "/readyz") == (503, {"ready": False, "workers": 0, "reason": "no worker can answer"})
    assert ask(tmp_path, "/readyz/?verbose=1")[0] == 503
    assert ask(tmp_path, "/ping") == (500, {"status": "Unhealthy"})


@pytest.mark.usefixtures("server")
def test_a_look_is_good_for_tens_of_milliseconds(
    tmp_path: Path, readiness: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert 0.01 <= probe_server.FRESH_S <= 0.1
    monkeypatch.setattr(probe_server, "FRESH_S", 60)
    assert {ask(tmp_path, "/readyz")[0] for _ in range(20)} == {200}
    assert readiness.looks == 1


@pytest.mark.usefixtures("server")
def test_a_flood_is_answered_in_full_by_a_few_looks_and_three_threads(tmp_path: Path, readiness: Workers) -> None:
    seen, done = [its_threads()], threading.Event()

    def watch() -> None:
        while not done.wait(0.005):
            seen.append(its_threads())

    watcher = threading.Thread(target=watch)
    watcher.start()
    began = time.monotonic()
    assert flood(tmp_path, clients=200, requests=20) == {b"HTTP/1.1 200 OK\r\n"}
    took = time.monotonic() - began
    done.set()
    watcher.join()
    assert readiness.looks <= took / probe_server.FRESH_S + 2
    assert max(seen) <= 3


@pytest.mark.usefixtures("server")
def test_more_clients_than_slots_wait_and_are_answered(tmp_path: Path) -> None:
    closing_asked = b"GET /v2/models/pets HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    assert flood(tmp_path, clients=SLOTS + 300, requests=1, asked=closing_asked) == {b"HTTP/1.1 200 OK\r\n"}


@pytest.mark.usefixtures("server")
def test_those_who_ask_at_once_share_one_look(tmp_path: Path, readiness: Workers) -> None:
    readiness.answers.clear()
    with contextlib.ExitStack() as stack:
        connections = [stack.enter_context(closing(UnixConnection(tmp_path / "probe.sock", 10))) for _ in range(50)]
        for connection in connections:
            connection.request("GET", "/readyz")
        readiness.answers.set()
        assert {connection.getresponse().status for connection in connections} == {200}
    assert readiness.looks == 1


@pytest.mark.usefixtures("server")
def test_a_slow_look_at_liveness_delays_neither_readiness_nor_what_is_known(tmp_path: Path, liveness: Workers) -> None:
    liveness.answers.clear()
    with closing(UnixConnection(tmp_path / "probe.sock", 30)) as connection:
        connection.request("GET", "/livez")
        assert ask(tmp_path, "/readyz")[0] == 200
        assert ask(tmp_path, "/v2/models/pets")[0] == 200
        liveness.answers.set()
        assert connection.getresponse().status == 200


def test_those_who_wait_for_liveness_leave_slots_to_the_others(
    tmp_path: Path, readiness: Workers, liveness: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probe_server, "FRESH_S", 0)
    monkeypatch.setattr(probe_server, "PATIENT_SLOTS", 2)
    with serving(tmp_path) as server, contextlib.ExitStack() as stack:
        assert ask(tmp_path, "/livez")[0] == 200
        liveness.answers.clear()
        liveness.health = NOT_READY
        waiting = [stack.enter_context(closing(UnixConnection(tmp_path / "probe.sock", 30))) for _ in range(2)]
        for connection in waiting:
            connection.request("GET", "/livez")
        deadline = time.monotonic() + 10
        while server.liveness.waiting < 2:
            assert time.monotonic() < deadline
            time.sleep(0.005)
        # They are told what was found last.
        assert {ask(tmp_path, "/livez")[0] for _ in range(10)} == {200}
        liveness.answers.set()
        assert {connection.getresponse().status for connection in waiting} == {503}


def test_a_folder_that_is_gone_is_no_answer_but_no(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    with serving(run), closing(UnixConnection(run / "probe.sock", 30)) as connection:
        connection.connect()
        for path in run.iterdir():
            path.unlink()
        run.rmdir()
        connection.request("GET", "/livez")
        response = connection.getresponse()
        assert response.status == 503
        assert json.loads(response.read())["reason"].startswith("the workers cannot be looked at: ")


def test_a_look_that_fails_is_no_and_the_next_one_may_succeed(
    tmp_path: Path, server: ProbeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probe_server, "FRESH_S", 0)

    def fail() -> Health:
        raise KeyError("pid")

    look = server.readiness.look
    monkeypatch.setattr(server.readiness, "look", fail)
    assert ask(tmp_path, "/readyz") == (
        503,
        {"ready": False, "workers": 0, "reason": "the workers cannot be looked at: 'pid'"},
    )
    monkeypatch.setattr(server.readiness, "look", look)
    assert ask(tmp_path, "/readyz")[0] == 200


@pytest.mark.usefixtures("readiness")
def test_where_no_thread_can_be_started_the_answer_is_no(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with serving(tmp_path):
        monkeypatch.setattr(threading.Thread, "start", refuse)
        status, document = ask(tmp_path, "/readyz")
        monkeypatch.undo()
    assert (status, document["reason"]) == (503, "the workers cannot be looked at: can't start new thread")


@pytest.mark.usefixtures("server")
def test_head_is_answered_without_a_body_and_the_connection_goes_on(tmp_path: Path) -> None:
    with closing(UnixConnection(tmp_path / "probe.sock", 5)) as connection:
        for method, length in (("HEAD", 0), ("GET", 21), ("HEAD", 0)):
            connection.request(method, "/v1/models")
            response = connection.getresponse()
            assert response.status == 200
            assert response.getheader("Content-Length") == "21"
            assert len(response.read()) == length


@pytest.mark.usefixtures("server")
@pytest.mark.parametrize("framing", ["Content-Length: {length}", "Transfer-Encoding: chunked", "content-length:0"])
def test_a_body_is_not_taken_for_the_next_request(tmp_path: Path, framing: str) -> None:
    """The connection is the gateway's, which would hand the answer to somebody else."""
    hidden = b"GET /v2 HTTP/1.1\r\nHost: x\r\n\r\n"
    head = f"GET /v1/models HTTP/1.1\r\nHost: x\r\n{framing.format(length=len(hidden))}\r\n\r\n"
    with closing(socket.socket(socket.AF_UNIX)) as connection:
        connection.settimeout(10)
        connection.connect(str(tmp_path / "probe.sock"))
        connection.sendall(head.encode() + hidden)
        with connection.makefile("rb") as file:
            first = http.client.HTTPResponse(connection)
            first.begin()
            assert json.loads(first.read()) == {"models": ["pets"]}
            assert first.getheader("Connection") == "close"
            with contextlib.suppress(ConnectionResetError):
                assert file.read() == b""


@pytest.mark.usefixtures("server")
def test_another_method_is_told_which_are_taken(tmp_path: Path) -> None:
    with closing(UnixConnection(tmp_path / "probe.sock", 5)) as connection:
        connection.request("DELETE", "/readyz")
        response = connection.getresponse()
        assert (response.status, response.getheader("Allow")) == (405, "GET, HEAD")
        assert json.loads(response.read())["code"] == "method"


@pytest.mark.usefixtures("server")
def test_a_problem_document_names_the_request_and_only_a_well_formed_name(tmp_path: Path) -> None:
    status, document = ask(tmp_path, "/v2/models/pets/versions/9", **{"X-Request-Id": "a.b-c_d:1"})
    assert (status, document["code"], document["request_id"]) == (404, "not_found", "a.b-c_d:1")
    assert document["error"] == document["detail"] == "This server has one version of pets: 2.1.0."
    for name in ("", 'a"b', "x" * 129):
        assert "request_id" not in ask(tmp_path, "/nothing", **{"X-Request-Id": name})[1]
    assert "request_id" not in ask(tmp_path, "/readyz", **{"X-Request-Id": "a.b-c_d:1"})[1]


@pytest.mark.usefixtures("server")
@pytest.mark.parametrize(
    ("sent", "first"),
    [
        (b"nonsense\r\n\r\n", b"HTTP/1.1 400 Bad Request\r\n"),
        (b"GET /readyz HTTP/2.0\r\n\r\n", b"HTTP/1.1 400 Bad Request\r\n"),
        (b"GET /readyz HTTP/1.0\r\n\r\n", b"HTTP/1.1 200 OK\r\n"),
        (b"\x00\xff" * 20_000, b""),
    ],
    ids=["no request", "another protocol", "HTTP/1.0", "no end"],
)
def test_what_cannot_go_on_is_closed_and_hurts_nobody(tmp_path: Path, sent: bytes, first: bytes) -> None:
    with closing(socket.socket(socket.AF_UNIX)) as connection:
        connection.settimeout(10)
        connection.connect(str(tmp_path / "probe.sock"))
        connection.sendall(sent)
        with connection.makefile("rb") as file, contextlib.suppress(ConnectionResetError):
            assert file.readline() == first
            file.read()
    assert ask(tmp_path, "/readyz")[0] == 200


def test_a_connection_without_a_question_is_closed_after_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probe_server, "IDLE_S", 0.05)
    with serving(tmp_path), closing(socket.socket(socket.AF_UNIX)) as connection:
        connection.settimeout(10)
        connection.connect(str(tmp_path / "probe.sock"))
        assert connection.recv(1) == b""


def test_nothing_is_left_of_it_after_its_end(tmp_path: Path, readiness: Workers) -> None:
    before = its_threads()
    with serving(tmp_path), closing(socket.socket(socket.AF_UNIX)) as connection:
        connection.settimeout(10)
        connection.connect(str(tmp_path / "probe.sock"))
        assert ask(tmp_path, "/readyz")[0] == 200
    deadline = time.monotonic() + 10  # a busy machine ends a thread of this test, or of the one before, a little later
    while its_threads() > before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert its_threads() <= before
    with closing(socket.socket(socket.AF_UNIX)) as late, pytest.raises(ConnectionRefusedError):
        late.connect(str(tmp_path / "probe.sock"))


@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_the_group_may_ask_and_read_and_nobody_else(tmp_path: Path, umask: int) -> None:
    (tmp_path / "model.json").write_text("of the one before")
    before = os.umask(umask)
    try:
        with serving(tmp_path):
            modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    finally:
        os.umask(before)
    assert modes == {"probe.sock": 0o660, "openapi.json": 0o640, "model.json": 0o640}


def test_it_leaves_the_documents_that_the_gateway_reads(tmp_path: Path) -> None:
    with serving(tmp_path):
        assert json.loads((tmp_path / "openapi.json").read_bytes()) == MODEL["openapi"]
        facts = json.loads((tmp_path / "model.json").read_bytes())
    assert facts == {name: MODEL[name] for name in ("name", "version", "classes", "size", "sha256", "server")}
