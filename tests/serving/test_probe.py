import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import UnixStreamServer
from typing import Any

import pytest

from serving.probe import ProbeServer, UnixConnection, check, live_workers


def beat(run: Path, pid: int, age: float = 0, busy: float | None = None) -> None:
    folder = run / "heartbeats"
    folder.mkdir(exist_ok=True)
    now = time.time()
    content = {"pid": pid, "time": now - age, "busy_since": None if busy is None else now - busy}
    (folder / f"{pid}.json").write_text(json.dumps(content))


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return tmp_path


@pytest.fixture
def frontend(run: Path) -> Iterator[None]:
    """Something that answers on the inference socket, as TorchServe's frontend does even with no model."""

    class Healthy(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
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
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    beat(run, child.pid)
    assert live_workers(run / "heartbeats", time.time()) == []


def test_a_worker_that_stopped_beating_does_not_count(run: Path) -> None:
    beat(run, os.getpid(), age=3)
    assert live_workers(run / "heartbeats", time.time()) == []


@pytest.mark.parametrize(("busy", "counts"), [(0.1, True), (9, True), (13, False)])
def test_a_busy_worker_counts_and_a_stuck_one_does_not(run: Path, busy: float, counts: bool) -> None:
    beat(run, os.getpid(), busy=busy)
    assert bool(live_workers(run / "heartbeats", time.time())) is counts


def test_a_file_that_is_no_heartbeat_does_not_count(run: Path) -> None:
    beat(run, os.getpid())
    (run / "heartbeats" / f"{os.getpid()}.json").write_text("{")
    assert live_workers(run / "heartbeats", time.time()) == []


def ask(run: Path, path: str) -> tuple[int, Any]:
    with closing(UnixConnection(run / "probe.sock", 5)) as connection:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, json.loads(response.read())


@pytest.mark.usefixtures("frontend")
def test_the_gateway_hears_it_in_two_languages(run: Path) -> None:
    server = ProbeServer(run)
    try:
        assert ask(run, "/readyz") == (503, {"ready": False, "workers": 0, "reason": "no worker can answer"})
        assert ask(run, "/ping") == (500, {"status": "Unhealthy"})
        beat(run, os.getpid())
        assert ask(run, "/readyz") == (200, {"ready": True, "workers": 1})
        assert ask(run, "/ping") == (200, {"status": "Healthy"})
    finally:
        server.shutdown()
        server.server_close()
