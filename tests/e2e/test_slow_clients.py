"""Clients that take their time: the gateway cuts them off, leaves slow but honest ones alone, and serves the others."""

import asyncio
import http.client
import json
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from itertools import cycle, islice

import psutil
import pytest

from serving.server.launch import Server
from tests import zoo
from tests.e2e.support import PATH, in_flight, wait_for
from tests.e2e.test_smuggling import END_HEADERS, HEAD, PREFACE, SETTINGS, block, frame, target

POST = f"POST {PATH} HTTP/1.1\r\nHost: localhost\r\n".encode()
GRPC = b"POST /org.pytorch.serve.grpc.inference.InferenceAPIsService/Predictions HTTP/1.1\r\nHost: localhost\r\n"
TAKES_NONE = b"POST /nothing HTTP/1.1\r\nHost: localhost\r\nContent-Length: 200000\r\n\r\n"
# What is sent at once, what each second, and for how long at least the gateway waits.
Slow = tuple[bytes, bytes, float]
HEADERS: dict[str, Slow] = {
    "nothing": (b"", b"", 10),
    "headers by the byte": (POST, b"X", 10),
    "half a preface of HTTP/2": (b"PRI * HTTP/2.0\r\n\r\n", b"", 10),
}
# Go reads on after an answer, for as much as 256 KiB, so that a small body differs from a large one.
BODIES: dict[str, Slow] = {
    "a body by the byte": (POST + b"Content-Length: 200000\r\n\r\n", b"x", 60),
    "a small body never sent": (POST + b"Content-Length: 200000\r\n\r\n", b"", 60),
    "a large body never sent": (POST + b"Content-Length: 16000000\r\n\r\n", b"", 60),
    "half a body": (POST + b"Content-Length: 300000\r\n\r\n" + bytes(150_000), b"", 60),
    "chunks by the byte": (POST + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n", 60),
    "a body where none is read": (TAKES_NONE, b"", 60),
}
# Where HTTP/1.1 has nothing to ask, or little.
ELSEWHERE = {
    "grpc": {
        "headers by the byte": (POST, b"X", 10),
        "a body never sent": (GRPC + b"Content-Type: application/grpc\r\nContent-Length: 200000\r\n\r\n", b"", 0),
        "a body where none is read": (TAKES_NONE, b"", 0),
    },
    "metrics": {
        "headers by the byte": (POST, b"X", 5),
        "a body never sent": (
            b"POST /torchserve/metrics HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n",
            b"",
            0,
        ),
        "a body where none is read": (TAKES_NONE, b"", 0),
    },
}
# What a busy machine may add.
BUSY_S = 20


async def be_slow(port: int, slow: Slow) -> tuple[float, bytes]:
    """Seconds until the server closes, and what it says."""
    opening, drip, _ = slow
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    started = time.monotonic()
    writer.write(opening)
    end = asyncio.create_task(reader.read())
    try:
        while not end.done():
            await asyncio.wait([end], timeout=1)
            writer.write(drip)
        received = b""
        with suppress(ConnectionError):
            received = await end
        return time.monotonic() - started, received
    finally:
        end.cancel()
        writer.close()


def all_at_once(port: int, clients: Mapping[str, Slow]) -> dict[str, bytes]:
    """Return what each client received, and require that none is answered before its time nor long after it."""

    async def run() -> list[tuple[float, bytes]]:
        return await asyncio.wait_for(asyncio.gather(*(be_slow(port, slow) for slow in clients.values())), 120)

    answers = {}
    for (kind, (*_, least)), (seconds, received) in zip(clients.items(), asyncio.run(run()), strict=True):
        assert least - 1 < seconds < max(least, 10) + BUSY_S, kind
        answers[kind] = received
    return answers


def test_slow_headers_are_cut_off_after_ten_seconds(server: Server) -> None:
    answers = all_at_once(server.options.ports.rest, HEADERS)
    assert answers["nothing"] == b""


@pytest.mark.parametrize("part", ELSEWHERE)
def test_slow_clients_are_cut_off_at_the_other_ports_too(server: Server, part: str) -> None:
    all_at_once(getattr(server.options.ports, part), ELSEWHERE[part])


@pytest.mark.slow
def test_slow_bodies_are_cut_off_after_a_minute_and_told_why(server: Server) -> None:
    port = server.options.ports.rest
    with socket.create_connection(("127.0.0.1", port)) as connection:
        # Its connection may go on, for other streams; this one may not.
        connection.sendall(PREFACE + frame(SETTINGS, 0, 0) + frame(HEAD, END_HEADERS, 1, block(target())))
        answers = all_at_once(port, BODIES)
        wait_for(lambda: in_flight(server) == 0, 20, "nothing is left of them")
    assert answers.pop("a body where none is read").startswith(b"HTTP/1.1 404 ")
    for kind, received in answers.items():
        head, _, body = received.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 400 "), kind
        assert json.loads(body)["code"] == "incomplete"


def upload(port: int, size: int, rate: int) -> tuple[int, str]:
    """Sends a photo of so many bytes, so many a second; gives the status and the answer."""
    body = zoo.CAT.read_bytes().ljust(size, b"\0")
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
        connection.putrequest("POST", PATH)
        connection.putheader("Content-Length", str(size))
        connection.endheaders()
        started = time.monotonic()
        for start in range(0, size, rate // 10):
            connection.send(body[start : start + rate // 10])
            time.sleep(max(0, started + start / rate - time.monotonic()))
        response = connection.getresponse()
        return response.status, json.loads(response.read()).get("label")


def test_a_slow_but_honest_upload_is_answered(server: Server) -> None:
    status, label = upload(server.options.ports.rest, 200_000, 25_000)
    assert status == 200
    assert label in ("cat", "dog")


def ask(connection: http.client.HTTPConnection) -> float:
    """Seconds that a good picture took."""
    started = time.monotonic()
    connection.request("POST", PATH, zoo.CAT.read_bytes())
    response = connection.getresponse()
    response.read()
    assert response.status == 200
    return time.monotonic() - started


def p99(server: Server, seconds: float) -> float:
    """Return the 99th percentile of the latency that one other client sees, which asks in a closed loop."""
    with closing(http.client.HTTPConnection("127.0.0.1", server.options.ports.rest, timeout=60)) as connection:
        until = time.monotonic() + seconds
        took = [ask(connection)]
        while time.monotonic() < until:
            took.append(ask(connection))
    return sorted(took)[int(0.99 * len(took))]


@contextmanager
def crowd(port: int, count: int) -> Iterator[Callable[[], int]]:
    """So many slow clients of all kinds, each of which comes again when it is cut off; yields how often they were."""
    cut_off, leave = 0, asyncio.Event()
    running: Future[asyncio.AbstractEventLoop] = Future()

    async def insist(slow: Slow) -> None:
        nonlocal cut_off
        while True:
            await be_slow(port, slow)
            cut_off += 1

    async def everybody() -> None:
        kinds = cycle([*HEADERS.values(), *BODIES.values()])
        clients = [asyncio.create_task(insist(slow)) for slow in islice(kinds, count)]
        running.set_result(asyncio.get_running_loop())
        await leave.wait()
        for client in clients:
            client.cancel()
        await asyncio.wait(clients)

    with ThreadPoolExecutor(1) as pool:
        pool.submit(asyncio.run, everybody())
        loop = running.result()
        try:
            yield lambda: cut_off
        finally:
            loop.call_soon_threadsafe(leave.set)


@pytest.mark.slow
def test_two_hundred_slow_clients_harm_no_neighbour_and_leave_nothing(server: Server) -> None:
    assert server.gateway is not None
    gateway = psutil.Process(server.gateway.pid)
    quiet = p99(server, 15)
    files = gateway.num_fds()
    with crowd(server.options.ports.rest, 200) as cut_off:
        wait_for(lambda: gateway.num_fds() >= files + 150, 30, "they are connected")
        crowded = p99(server, 30)
        honest, _ = upload(server.options.ports.rest, 2_000_000, 100_000)
        wait_for(lambda: cut_off() >= 400, 120, "they were cut off, in part more than once")
    # Twice as long, or what one pause of a machine of few cores adds to a short answer.
    assert crowded < max(2 * quiet, quiet + 0.05)
    assert honest == 200
    wait_for(lambda: gateway.num_fds() <= files + 2, 90, "the gateway's files are closed")
    assert in_flight(server) == 0


@pytest.mark.slow
def test_a_connection_that_is_kept_for_nothing_is_closed_after_75_seconds(server: Server) -> None:
    with closing(http.client.HTTPConnection("127.0.0.1", server.options.ports.rest, timeout=120)) as connection:
        ask(connection)
        assert connection.sock is not None
        started = time.monotonic()
        assert connection.sock.recv(1) == b""
        assert 70 < time.monotonic() - started < 100
