"""Tests of the server's readiness: it is ready exactly while it can answer."""

import asyncio
import json
import os
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import grpc
import httpx
import psutil
import pytest
from google.protobuf import empty_pb2

from handler.files import UserError
from serving.health.heartbeats import live_workers
from serving.health.torchserve_client import UnixConnection, authorization
from serving.server.launch import Server
from tests import zoo
from tests.e2e.support import PATH, in_flight, repack, start, wait_for
from tests.e2e.test_smuggling import END_HEADERS, END_STREAM, HEAD, PREFACE, SETTINGS, block, frame, target

QUESTIONS = ("/readyz", "/v2/models/catsdogs", "/v1/models/catsdogs", "/openapi.json", "/livez")
CLIENTS = 200
# A flood takes a core or more from the workers; what must not happen is that an answer waits for the flood's end.
PATIENCE_S = 5.0


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
            readyz = f"{server.options.url}/readyz"
            wait_for(lambda: httpx.get(readyz, trust_env=False, timeout=10).status_code == 503, 3, "it is missed")
            response = httpx.get(readyz, trust_env=False, timeout=10)
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
        # What was answered last is answered again for a moment.
        livez = f"{server.options.url}/livez"
        wait_for(lambda: httpx.get(livez, trust_env=False, timeout=30).json() == {"live": True}, 5, "it is alive again")


def test_a_model_that_cannot_load_is_never_ready_though_torchserves_ping_says_healthy(
    archive: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    def breaks(data: bytes) -> bytes:
        return data.replace(b"self.predictor = ", b"raise RuntimeError('no such card')\n        self.predictor = ")

    broken = repack(archive, tmp_path / "broken.mar", "catsdogs_handler.py", breaks)
    server = start(broken, startup_s=20)
    answers: list[Any] = []

    def readyz() -> int:
        with suppress(httpx.ConnectError):
            return httpx.get(f"{server.options.url}/readyz", trust_env=False).status_code
        return 0

    def watch() -> None:
        wait_for(lambda: hasattr(server, "run") and (server.run / "inference.sock").exists(), 20, "TorchServe's socket")
        with closing(UnixConnection(server.run / "inference.sock", 5)) as connection:
            connection.request("GET", "/ping", headers=authorization(server.run))
            answers.append(json.loads(connection.getresponse().read()))
        wait_for(lambda: readyz() != 0, 20, "the gateway listens")
        answers.append(readyz())

    watcher = threading.Thread(target=watch)
    watcher.start()
    with pytest.raises(UserError, match="No worker could answer within 20 s: no such card"):
        server.__enter__()
    watcher.join()
    assert answers == [{"status": "Healthy"}, 503]
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


@contextmanager
def good_client(server: Server) -> Iterator[list[float]]:
    """One that posts a picture after the other meanwhile, and gets its answer each time. Yields the seconds taken."""
    done, took = threading.Event(), list[float]()

    def post() -> None:
        with httpx.Client(base_url=server.options.url, trust_env=False, timeout=30) as client:
            while not done.is_set():
                started = time.monotonic()
                response = client.post(PATH, content=zoo.CAT.read_bytes())
                took.append(time.monotonic() - started)
                assert (response.status_code, response.json()["label"]) == (200, "cat")

    with ThreadPoolExecutor(1) as pool:
        posting = pool.submit(post)
        try:
            wait_for(lambda: bool(took) or posting.done(), 30, "the good client's first answer")
            yield took
        finally:
            done.set()
        posting.result()


@contextmanager
def most_threads() -> Iterator[list[int]]:
    """Yield a list that gathers the number of this process's threads; the probe's server runs in this process."""
    done, seen = threading.Event(), [psutil.Process().num_threads()]

    def watch() -> None:
        while not done.wait(0.02):
            seen.append(psutil.Process().num_threads())

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield seen
    finally:
        done.set()
        watcher.join()


async def keep_asking(port: int, path: str, requests: int, per_connection: int) -> list[int]:
    """Return the statuses of one client's requests, one after the other."""
    statuses = list[int]()
    while len(statuses) < requests:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(min(per_connection, requests - len(statuses))):
            writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            (length,) = [line.split(":")[1] for line in head.split("\r\n") if line.startswith("Content-Length:")]
            await reader.readexactly(int(length))
            statuses.append(int(head.split()[1]))
        writer.close()
    return statuses


def flood(port: int, path: str, requests: int, per_connection: int) -> Counter[int]:
    async def everybody() -> list[list[int]]:
        clients = [keep_asking(port, path, requests, per_connection) for _ in range(CLIENTS)]
        return await asyncio.wait_for(asyncio.gather(*clients), 120)

    return Counter(status for statuses in asyncio.run(everybody()) for status in statuses)


@pytest.mark.parametrize("per_connection", [1, 100], ids=["a connection each", "kept connections"])
@pytest.mark.parametrize("path", QUESTIONS)
def test_two_hundred_clients_are_all_answered_and_harm_nobody(server: Server, path: str, per_connection: int) -> None:
    with good_client(server) as took, most_threads() as threads:
        started = time.monotonic()
        assert flood(server.options.ports.rest, path, 10, per_connection) == {200: CLIENTS * 10}
        wait_for(lambda: time.monotonic() - started > 0.2 and len(took) > 1, 30, "an answer during the flood")
    assert max(threads) <= threads[0] + 3, "the probe's server needs one thread and one for each kind of look"
    assert max(took) < PATIENCE_S


def test_clients_of_http2_that_read_nothing_take_no_threads_and_harm_nobody(server: Server) -> None:
    """Each of 40 connections has 25 streams and a window of zero, so that no answer can leave."""
    no_window = frame(SETTINGS, 0, 0, b"\x00\x04" + bytes(4))
    ask = [
        frame(HEAD, END_HEADERS | END_STREAM, 2 * number + 1, block(target(path.encode(), b"GET")))
        for number, path in enumerate(QUESTIONS * 5)
    ]
    with good_client(server) as took, most_threads() as threads, ExitStack() as stack:
        for _ in range(40):
            connection = stack.enter_context(socket.create_connection(("127.0.0.1", server.options.ports.rest), 30))
            connection.sendall(PREFACE + no_window + b"".join(ask))
        # A small answer is the connection's once it is written; openapi.json is too large for that.
        wait_for(lambda: in_flight(server) >= 200, 30, "hundreds of answers that cannot leave")
        assert flood(server.options.ports.rest, "/readyz", 10, 100) == {200: CLIENTS * 10}
        before = len(took)
        wait_for(lambda: len(took) > before, 30, "another answer to the good client")
    assert max(threads) <= threads[0] + 3
    assert max(took) < PATIENCE_S
