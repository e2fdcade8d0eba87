"""Processes that die, of themselves or by kill -9: which are started again, what is said, and what is left."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import psutil
import pytest

from common.ports import free_ports
from serving.health.heartbeats import live_workers
from serving.server.launch import Server
from tests import zoo
from tests.e2e.support import PATH, command, repack, start, wait_for

linux = pytest.mark.skipif(sys.platform != "linux", reason="the kernel ends no orphans there: see janitor.py")


def is_alive(process: psutil.Process) -> bool:
    """A zombie has ended; only its new parent has not asked for its status yet."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def command_line(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def ready_workers(server: Server) -> list[int]:
    return live_workers(server.run / "heartbeats", time.time())


@contextmanager
def asking(url: str) -> Iterator[Counter[int]]:
    """A client that asks without pause; yields how often it got which status, 0 for a connection that was lost."""
    statuses: Counter[int] = Counter()
    stop = threading.Event()

    def ask() -> None:
        with httpx.Client(timeout=60, trust_env=False) as client:
            while not stop.is_set():
                try:
                    statuses[client.post(f"{url}{PATH}", content=zoo.CAT.read_bytes()).status_code] += 1
                except httpx.TransportError:
                    statuses[0] += 1

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield statuses
    finally:
        stop.set()
        thread.join()


def test_a_torchserve_that_is_killed_is_started_again_and_its_clients_get_503_meanwhile(
    archive: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with start(archive, workers=1) as server, asking(server.options.url) as statuses:
        wait_for(lambda: statuses[200] > 0, 30, "an answer")
        java = server.torchserve
        assert java is not None
        old_key = (server.run / "inference.key").read_text()
        java.kill()
        wait_for(lambda: statuses[503] > 0, 30, "a refusal")
        before = statuses[200]
        wait_for(lambda: statuses[200] > before, 90, "an answer of the next TorchServe")
        server.check_children()
        assert server.torchserve is not java
        assert (server.run / "inference.key").read_text() != old_key
    assert set(statuses) == {200, 503}, statuses
    lines = [line for line in capfd.readouterr().err.splitlines() if line.startswith("TorchServe ")]
    assert lines[0] == "TorchServe ended unexpectedly by signal 9 (SIGKILL): restarting it in 0.5 s."
    assert lines[1].startswith("TorchServe answers again, with worker ")
    assert len(lines) == 2


def test_a_torchserve_that_ends_again_and_again_is_given_up(archive: Path) -> None:
    with command(str(archive), "--workers", "1") as (child, _, _):
        assert child.stderr is not None
        killed: set[int] = set()
        stop = threading.Event()

        def kill_each() -> None:
            while not stop.wait(0.05):
                with suppress(psutil.NoSuchProcess):  # the launcher, which has given up, or a child that ended
                    for process in psutil.Process(child.pid).children():
                        if process.name() == "java" and process.pid not in killed:
                            killed.add(process.pid)
                            process.kill()

        killer = threading.Thread(target=kill_each)
        killer.start()
        try:
            log = child.stderr.read()
            status = child.wait(60)
        finally:
            stop.set()
            killer.join()
    assert status == 2
    assert len(killed) == 5
    assert "TorchServe ended 5 times within a minute, at last by signal 9 (SIGKILL): giving up." in log
    assert log.count("restarting it in") == 4
    assert "Traceback" not in log


@linux
def test_a_worker_that_is_killed_leaves_one_line_and_another_in_its_place(
    archive: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with start(archive, workers=2) as server:
        wait_for(lambda: len(ready_workers(server)) == 2, 60, "both workers")
        capfd.readouterr()
        lines: list[str] = []

        def replaced() -> int:
            lines.extend(capfd.readouterr().err.splitlines())
            return sum("is ready, in place of one that ended." in line for line in lines)

        for count in range(1, 4):
            victim = ready_workers(server)[0]
            os.kill(victim, signal.SIGKILL)
            wait_for(lambda expected=count: replaced() == expected, 60, "a worker in its place")  # type: ignore[misc]
            expected = (
                f"Worker {victim} ended by signal 9 (SIGKILL), not for lack of memory. TorchServe starts another."
            )
            assert [line for line in lines if f" {victim} " in line and "is ready" not in line] == [expected]
        assert len(lines) == 6, lines


def test_a_worker_that_hangs_leaves_one_line_that_says_so(
    archive: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    def change(code: bytes) -> bytes:
        line = b"        request = read_request(row, headers, self.predictor.release)\n"
        assert code.count(line) == 1
        return code.replace(line, line + b"        if request.pictures[0].endswith(b'hang'): time.sleep(600)\n")

    hanging = repack(archive, tmp_path / "hanging.mar", "catsdogs_handler.py", change)
    with start(hanging, workers=1) as server:
        (worker,) = ready_workers(server)
        capfd.readouterr()
        body = zoo.CAT.read_bytes() + b"hang"
        answer = httpx.post(f"{server.options.url}{PATH}", content=body, trust_env=False, timeout=60)
        wait_for(lambda: ready_workers(server) not in ([], [worker]), 60, "a worker in its place")
        log = ""

        def is_said() -> bool:
            nonlocal log
            log += capfd.readouterr().err
            return "is ready" in log

        wait_for(is_said, 10, "the line about the next one")
    # Beside the two sentences stands the relay's line about the request that had no answer.
    first, second = [line for line in log.splitlines() if not line.startswith("{")]
    assert first.startswith(f"Worker {worker} hung: it did not answer a batch within 1")
    assert second.endswith("is ready, in place of one that ended.")
    (failure,) = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    assert (failure["event"], failure["status"], failure["request_id"]) == (
        "failure",
        answer.status_code,
        answer.headers["x-request-id"],
    )


@linux
@pytest.mark.parametrize("moment", ["ready", "starting"])
def test_the_janitor_and_then_the_launcher_killed_leave_no_process(archive: Path, moment: str) -> None:
    rest, grpc_port, metrics = map(str, free_ports(3))
    ports = ["--port", rest, "--grpc-port", grpc_port, "--metrics-port", metrics, "--workers", "2"]
    launcher = subprocess.Popen(
        [sys.executable, "-m", "catsdogs", "serve", str(archive), *ports],
        cwd=zoo.ROOT,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert launcher.stderr is not None

        def family() -> list[psutil.Process]:
            return psutil.Process(launcher.pid).children(recursive=True)

        def commands(word: str) -> list[psutil.Process]:
            return [process for process in family() if word in command_line(process)]

        if moment == "ready":
            for line in launcher.stderr:
                if line.startswith("Ready after"):
                    break
        else:
            # A worker that has not connected to TorchServe yet would wait for it.
            wait_for(lambda: bool(commands("model_service_worker.py")), 60, "a worker's process")
        (janitor,) = commands("janitor.py")
        janitor.kill()
        (java,) = commands("-Djava.io.tmpdir")
        (folder,) = (word for word in java.cmdline() if word.startswith("-Djava.io.tmpdir="))
        run = folder.partition("=")[2].removesuffix("/private/tmp")
        wait_for(lambda: bool(commands("caddy")), 10, "the gateway")
        gateway = commands("caddy")[-1]
        launcher.kill()
        # Those too that were started at the last moment: all name the folder.
        wait_for(
            lambda: not any(run in command_line(process) for process in psutil.process_iter()),
            10,
            "the end of TorchServe",
        )
        wait_for(lambda: not is_alive(gateway), 10, "the end of the gateway")
    finally:
        launcher.kill()
        launcher.communicate()


@linux
def test_a_stopped_worker_ends_with_a_torchserve_that_is_killed(archive: Path) -> None:
    """It would not see that its connection is closed."""
    with start(archive, workers=1) as server:
        (worker,) = ready_workers(server)
        process = psutil.Process(worker)
        os.kill(worker, signal.SIGSTOP)
        assert server.torchserve is not None
        server.torchserve.kill()
        wait_for(lambda: not is_alive(process), 10, "the worker's end")
