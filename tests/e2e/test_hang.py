"""Hanging workers are replaced; slow ones are left alone."""

import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import httpx
import psutil
import pytest
from PIL import Image

from serving.health.heartbeats import live_beats, live_workers
from serving.health.torchserve_client import NO_IMAGE, worker_status
from serving.server.launch import Server
from tests import zoo
from tests.e2e.support import PATH, command, in_flight, repack, start, wait_for

# A good picture: what follows a JPEG's end is no part of it.
HANG = zoo.CAT.read_bytes() + b"hang"
WAYS = {
    "it sleeps": "time.sleep(600)",
    # A C function that is called so keeps Python's lock: not even the heartbeat's thread runs.
    "it keeps Python's lock": "ctypes.PyDLL(None).sleep(600)",
}


@contextmanager
def hanging(archive: Path, folder: Path, how: str, workers: int) -> Iterator[tuple[Server, httpx.Client, Path]]:
    """A server whose handler hangs on one picture, and the file in which its process writes its number before."""
    note = folder / "hung"

    def change(code: bytes) -> bytes:
        line = b"        request = read_request(row, headers, self.predictor.release)\n"
        assert code.count(line) == 1
        hang = f"import ctypes, os, time; Path({str(note)!r}).write_text(str(os.getpid())); {how}"
        return code.replace(line, line + f"        if request.pictures[0].endswith(b'hang'): {hang}\n".encode())

    changed = repack(archive, folder / "hanging.mar", "catsdogs_handler.py", change)
    with (
        start(changed, workers=workers) as server,
        httpx.Client(base_url=server.options.url, timeout=60, trust_env=False) as client,
    ):
        wait_for(lambda: bool(client.get("/readyz").json()["workers"] == workers), 60, "all workers are warm")
        yield server, client, note


def has_ended(note: Path) -> bool:
    """Java asks for the status of a worker that it kills, so no zombie of it remains."""
    return not psutil.pid_exists(int(note.read_text()))


def hangs(note: Path) -> bool:
    return note.exists() and note.read_text() != ""


@pytest.mark.slow
@pytest.mark.parametrize("how", WAYS)
def test_a_worker_that_hangs_is_replaced_and_its_neighbour_serves_all_the_time(
    archive: Path, tmp_path: Path, how: str
) -> None:
    with hanging(archive, tmp_path, WAYS[how], workers=2) as (_, client, note), ThreadPoolExecutor(1) as pool:
        request = pool.submit(client.post, PATH, content=HANG)
        wait_for(lambda: hangs(note), 10, "the worker hangs")
        served = 0
        while not request.done():
            assert client.post(PATH, content=zoo.CAT.read_bytes()).status_code == 200
            assert [client.get(path).status_code for path in ("/readyz", "/livez")] == [200, 200]
            served += 1
        assert served >= 5
        answer = request.result()
        assert (answer.status_code, answer.headers["content-type"]) == (504, "application/problem+json")
        assert answer.json()["code"] == "deadline"
        wait_for(lambda: has_ended(note), 5, "the hung worker's end")
        wait_for(lambda: bool(client.get("/readyz").json()["workers"] == 2), 60, "a worker in its place")


@pytest.mark.slow
@pytest.mark.parametrize("how", WAYS)
def test_a_lone_worker_that_hangs_is_missed_and_replaced(archive: Path, tmp_path: Path, how: str, stubs: Any) -> None:
    messages, services = stubs
    with hanging(archive, tmp_path, WAYS[how], workers=1) as (server, client, note):
        with grpc.insecure_channel(f"127.0.0.1:{server.options.ports.grpc}") as channel:
            message = messages.PredictionsRequest(model_name="catsdogs", input={"data": HANG})
            call = services.InferenceAPIsServiceStub(channel).Predictions.future(message, timeout=60)
            wait_for(lambda: hangs(note), 10, "the worker hangs")
            wait_for(lambda: client.get("/readyz").status_code == 503, 20, "the server is not ready")
            assert client.get("/livez").status_code == 200
            assert call.code() == grpc.StatusCode.DEADLINE_EXCEEDED
            assert call.details() == "The model did not answer in time."
        wait_for(lambda: has_ended(note), 5, "the hung worker's end")
        wait_for(lambda: client.get("/readyz").status_code == 200, 60, "the server is ready")
        assert client.post(PATH, content=zoo.CAT.read_bytes()).status_code == 200


def test_who_asks_whether_an_idle_server_is_alive_has_a_worker_answer(archive: Path) -> None:
    with start(archive, workers=1) as server:

        def batches() -> int:
            return sum(beat["batches"] for beat in live_beats(server.run / "heartbeats", time.time()))

        assert batches() == 0
        live = httpx.get(f"{server.options.url}/livez", trust_env=False, timeout=30)
        assert (live.status_code, live.json()) == (200, {"live": True})
        wait_for(lambda: batches() == 1, 5, "the worker says so with its next beat")
        assert worker_status(server.run, 5) == NO_IMAGE


def test_a_worker_that_stopped_for_good_is_found_out(archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serving.health.probe.DEAD_S", 5)
    with (
        start(archive, workers=1) as server,
        httpx.Client(base_url=server.options.url, timeout=30, trust_env=False) as client,
    ):
        (worker,) = live_workers(server.run / "heartbeats", time.time())
        os.kill(worker, signal.SIGSTOP)
        wait_for(lambda: client.get("/readyz").status_code == 503, 5, "the server is not ready")
        assert client.get("/livez").json() == {"live": True}
        wait_for(lambda: client.get("/livez").status_code == 503, 10, "the server is not alive")
        os.kill(worker, signal.SIGCONT)
        wait_for(lambda: client.get("/livez").status_code == 200, 5, "the server is alive")


@pytest.mark.slow
def test_a_saturated_server_is_alive_and_ready_all_the_time(archive: Path) -> None:
    """More clients than the queue has room for, for 20 s."""
    statuses: Counter[int] = Counter()
    stop = threading.Event()

    def ask(url: str) -> None:
        with httpx.Client(timeout=60, trust_env=False) as client:
            while not stop.is_set():
                status = client.post(f"{url}{PATH}", content=zoo.CAT.read_bytes()).status_code
                statuses[status] += 1
                stop.wait(0 if status == 200 else 0.1)

    with command(str(archive), "--workers", "1") as (_, port, _), ThreadPoolExecutor(64) as pool:
        url = f"http://127.0.0.1:{port}"
        clients = [pool.submit(ask, url) for _ in range(64)]
        try:
            wait_for(lambda: statuses[503] > 0, 30, "the queue is full")
            until, before, requests = time.monotonic() + 20, statuses.total(), 0
            while time.monotonic() < until:
                for path in ("/livez", "/readyz"):
                    answer = httpx.get(f"{url}{path}", trust_env=False, timeout=30)
                    assert answer.status_code == 200, answer.text
                requests += 1
            assert requests >= 5
            assert statuses.total() > before
        finally:
            stop.set()
        for client in clients:
            client.result()
    assert set(statuses) == {200, 503}


@pytest.mark.slow
def test_a_batch_of_the_costliest_pictures_costs_no_worker_its_life(archive: Path) -> None:
    """49 megapixels with transparency, in 200 kB: one takes a second or two, and seven more than a worker may."""
    large = zoo.encode(Image.new("RGBA", (7000, 7000), (9, 99, 200, 128)), "PNG", compress_level=1)
    with start(archive, workers=1) as server, ThreadPoolExecutor(9) as pool:
        (worker,) = live_workers(server.run / "heartbeats", time.time())

        def ask(body: bytes) -> httpx.Response:
            return httpx.post(f"{server.options.url}{PATH}", content=body, trust_env=False, timeout=60)

        os.kill(worker, signal.SIGSTOP)
        small = [pool.submit(ask, zoo.CAT.read_bytes())]
        wait_for(lambda: in_flight(server) == 1, 5, "one request before the worker")
        rest = [pool.submit(ask, large) for _ in range(7)]
        small.append(pool.submit(ask, zoo.CAT.read_bytes()))
        wait_for(lambda: in_flight(server) == 9, 5, "a batch behind it")
        os.kill(worker, signal.SIGCONT)
        assert [answer.result().status_code for answer in small] == [200, 200]
        answers = [answer.result() for answer in rest]
        assert {answer.status_code for answer in answers} == {200, 503}
        refused = [answer for answer in answers if answer.status_code == 503]
        assert {(answer.json()["code"], answer.headers["retry-after"]) for answer in refused} == {("overloaded", "1")}
        assert live_workers(server.run / "heartbeats", time.time()) == [worker]
