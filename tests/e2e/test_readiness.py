"""When the server says that it can answer, and when it does not."""

import json
import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from google.protobuf import empty_pb2

from handler.files import UserError
from serving.probe import UnixConnection, authorization, live_workers
from tests import zoo
from tests.e2e.support import PATH, in_flight, repack, start, wait_for


def test_readiness_follows_the_workers(archive: Path) -> None:
    with start(archive, workers=2) as server, httpx.Client(base_url=server.options.url, trust_env=False) as client:

        def alive() -> list[int]:
            return live_workers(server.run / "heartbeats", time.time())

        def workers() -> int:
            return int(client.get("/readyz").json()["workers"])

        # Ready with one, the server may still be warming the other.
        wait_for(lambda: workers() == 2, 30, "both workers are warm")
        os.kill(alive()[0], signal.SIGKILL)
        wait_for(lambda: workers() == 1, 3, "one worker is missed")
        assert client.get("/readyz").status_code == 200
        assert client.post(PATH, content=zoo.CAT.read_bytes(), timeout=30).status_code == 200
        wait_for(lambda: workers() == 2, 30, "the worker is replaced")

        for pid in alive():
            os.kill(pid, signal.SIGKILL)
        wait_for(lambda: client.get("/readyz").status_code == 503, 3, "the server is not ready")
        wait_for(lambda: client.get("/readyz").status_code == 200, 30, "a worker is warm again")
        assert client.post(PATH, content=zoo.CAT.read_bytes(), timeout=30).status_code == 200


def test_a_frozen_frontend_is_neither_ready_nor_alive_in_any_language(archive: Path, stubs: Any) -> None:
    _, services = stubs
    with start(archive) as server:
        assert server.torchserve is not None
        os.kill(server.torchserve.pid, signal.SIGSTOP)
        try:
            response = httpx.get(f"{server.options.url}/readyz", trust_env=False, timeout=10)
            assert response.status_code == 503
            assert response.json()["reason"] == "the frontend does not answer"
            ping = httpx.get(f"{server.options.url}/ping", trust_env=False, timeout=10)
            assert (ping.status_code, ping.json()) == (500, {"status": "Unhealthy"})
            with grpc.insecure_channel(f"127.0.0.1:{server.options.ports.grpc}") as channel:
                health = services.InferenceAPIsServiceStub(channel).Ping(empty_pb2.Empty(), timeout=10).health
            assert json.loads(health) == {"status": "Unhealthy"}
            for path in ("/livez", "/v2/health/live"):
                live = httpx.get(f"{server.options.url}{path}", trust_env=False, timeout=30)
                assert (live.status_code, live.json()["live"]) == (503, False)
                assert live.json()["reason"] == "the frontend does not answer"
        finally:
            os.kill(server.torchserve.pid, signal.SIGCONT)
        assert httpx.get(f"{server.options.url}/livez", trust_env=False, timeout=30).json() == {"live": True}


def test_a_model_that_cannot_load_is_never_ready_though_torchserves_ping_says_healthy(
    archive: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    def breaks(data: bytes) -> bytes:
        return data.replace(b"self.predictor = ", b"raise RuntimeError('no such card')\n        self.predictor = ")

    broken = repack(archive, tmp_path / "broken.mar", "catsdogs_handler.py", breaks)
    server = start(broken, startup_s=20)
    said: list[Any] = []

    def watch() -> None:
        wait_for(lambda: hasattr(server, "run") and (server.run / "inference.sock").exists(), 20, "TorchServe's socket")
        with closing(UnixConnection(server.run / "inference.sock", 5)) as connection:
            connection.request("GET", "/ping", headers=authorization(server.run))
            said.append(json.loads(connection.getresponse().read()))
        said.append(httpx.get(f"{server.options.url}/readyz", trust_env=False).status_code)

    watcher = threading.Thread(target=watch)
    watcher.start()
    with pytest.raises(UserError, match="No worker could answer within 20 s: no such card"):
        server.__enter__()
    watcher.join()
    assert said == [{"status": "Healthy"}, 503]
    assert "no such card" in capfd.readouterr().err


def test_a_killed_worker_takes_only_its_own_batch_and_says_so_in_our_words(archive: Path) -> None:
    with start(archive, workers=1) as server:
        url = f"{server.options.url}{PATH}"
        (worker,) = live_workers(server.run / "heartbeats", time.time())

        def ask(number: int) -> httpx.Response:
            return httpx.post(url, content=zoo.CAT.read_bytes(), trust_env=False, timeout=60)

        with ThreadPoolExecutor(24) as pool:
            # Stopped, it holds the first batch that it is given, and all the others wait.
            os.kill(worker, signal.SIGSTOP)
            responses = [pool.submit(ask, number) for number in range(24)]
            wait_for(lambda: in_flight(server) == 24, 30, "24 requests in flight")
            os.kill(worker, signal.SIGKILL)
            answers = [response.result() for response in responses]
    failed = [answer for answer in answers if answer.status_code != 200]
    assert 1 <= len(failed) <= 8, "a batch has one to eight"
    for answer in failed:
        assert answer.headers["content-type"] == "application/problem+json"
        assert (answer.status_code, answer.json()["code"]) == (500, "internal")
        assert answer.json()["request_id"] == answer.headers["x-request-id"]
