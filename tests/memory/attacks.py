"""Clients that want the server's memory, by asyncio: each attack holds what it has got until it is told to end."""

import asyncio
import contextlib
import struct
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable

from serving.wire import METHOD, field
from tests.e2e.test_smuggling import PREFACE, block, frame

PATH = "/predictions/catsdogs"
HEADERS, DATA, SETTINGS, WINDOW = 1, 0, 4, 8
END_STREAM, END_HEADERS = 1, 4
INITIAL_WINDOW = 4
PATIENCE_S = 60


async def opened(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.wait_for(asyncio.open_connection("127.0.0.1", port, limit=1 << 16), PATIENCE_S)


def head(length: int, path: str = PATH, kind: str = "application/octet-stream") -> bytes:
    lines = (f"POST {path} HTTP/1.1", "Host: localhost", f"Content-Type: {kind}", f"Content-Length: {length}")
    return "\r\n".join([*lines, "", ""]).encode()


def feedback_head(length: int) -> bytes:
    """Return the head of a form with a picture."""
    return head(length, "/feedback", "multipart/form-data; boundary=x")


async def status_of(reader: asyncio.StreamReader) -> str:
    line = await asyncio.wait_for(reader.readline(), PATIENCE_S)
    return line.split()[1].decode() if line else "closed"


async def stalled_upload(port: int, ended: asyncio.Event, outcomes: Counter[str]) -> None:
    """A body of a megabyte, of which the last byte never comes."""
    await stall(port, ended, outcomes, head(1 << 20))


async def stalled_feedback(port: int, ended: asyncio.Event, outcomes: Counter[str]) -> None:
    """The same as feedback with a picture."""
    await stall(port, ended, outcomes, feedback_head(1 << 20))


async def stall(port: int, ended: asyncio.Event, outcomes: Counter[str], start: bytes) -> None:
    reader, writer = await opened(port)
    with contextlib.closing(writer), contextlib.suppress(OSError):
        writer.write(start + bytes((1 << 20) - 1))
        answer = asyncio.create_task(status_of(reader))
        await asyncio.wait([answer, asyncio.create_task(ended.wait())], return_when=asyncio.FIRST_COMPLETED)
        outcomes[answer.result() if answer.done() and not answer.exception() else "held"] += 1
        answer.cancel()


async def large_body(port: int, ended: asyncio.Event, outcomes: Counter[str]) -> None:
    """A body of 16 MiB, in full."""
    await flood(port, outcomes, head(16 << 20))


async def large_feedback(port: int, ended: asyncio.Event, outcomes: Counter[str]) -> None:
    """The same as feedback with a picture, whose token nobody signed."""
    await flood(port, outcomes, feedback_head(16 << 20))


async def flood(port: int, outcomes: Counter[str], start: bytes) -> None:
    reader, writer = await opened(port)
    with contextlib.closing(writer):
        answer = asyncio.create_task(status_of(reader))
        try:
            writer.write(start)
            for _ in range(256):
                writer.write(bytes(1 << 16))
                await writer.drain()
        except OSError:
            pass  # an early answer: it is read below
        try:
            outcomes[await answer] += 1
        except OSError:
            outcomes["broken"] += 1


async def kept_connection(port: int, ended: asyncio.Event, outcomes: Counter[str]) -> None:
    """One request, and then the connection is kept."""
    reader, writer = await opened(port)
    with contextlib.closing(writer), contextlib.suppress(OSError):
        writer.write(b"GET /v2 HTTP/1.1\r\nHost: localhost\r\n\r\n")
        answer = asyncio.create_task(status_of(reader))
        await asyncio.wait([answer, asyncio.create_task(ended.wait())], return_when=asyncio.FIRST_COMPLETED)
        outcomes[answer.result() if answer.done() and not answer.exception() else "waits"] += 1
        await ended.wait()
        answer.cancel()


async def closed_window(port: int, ended: asyncio.Event, outcomes: Counter[str]) -> None:
    """A hundred requests by HTTP/2 whose answers may not be sent."""
    reader, writer = await opened(port)
    with contextlib.closing(writer), contextlib.suppress(OSError):
        writer.write(PREFACE + frame(SETTINGS, 0, 0, struct.pack(">HL", INITIAL_WINDOW, 0)))
        fields = [
            (b":method", b"GET"),
            (b":scheme", b"http"),
            (b":path", b"/openapi.json"),
            (b":authority", b"localhost"),
        ]
        for number in range(100):
            writer.write(frame(HEADERS, END_HEADERS | END_STREAM, 2 * number + 1, block(fields)))
        await writer.drain()
        outcomes["sent"] += 1
        await ended.wait()
        assert reader is not None


async def large_call(port: int, ended: asyncio.Event, outcomes: Counter[str]) -> None:
    """A gRPC message of 15 MiB, as fast as the window lets it."""
    reader, writer = await opened(port)
    message = field(1, b"catsdogs") + field(3, field(1, b"data") + field(2, bytes(15 << 20)))
    body = struct.pack(">BI", 0, len(message)) + message
    fields = [
        (b":method", b"POST"),
        (b":scheme", b"http"),
        (b":path", b"/" + METHOD.encode()),
        (b":authority", b"localhost"),
        (b"content-type", b"application/grpc"),
        (b"te", b"trailers"),
    ]
    with contextlib.closing(writer):
        writer.write(PREFACE + frame(SETTINGS, 0, 0) + frame(HEADERS, END_HEADERS, 1, block(fields)))
        window, stream, at = 65535, 65535, 0
        try:
            while True:
                while at < len(body) and min(window, stream) > 0:
                    size = min(window, stream, 16384, len(body) - at)
                    last = END_STREAM if at + size == len(body) else 0
                    writer.write(frame(DATA, last, 1, body[at : at + size]))
                    at, window, stream = at + size, window - size, stream - size
                await writer.drain()
                start = await asyncio.wait_for(reader.readexactly(9), PATIENCE_S)
                payload = await reader.readexactly(int.from_bytes(start[:3]))
                kind, flags, number = start[3], start[4], int.from_bytes(start[5:9])
                if kind == WINDOW:
                    grown = int.from_bytes(payload)
                    window, stream = (window + grown, stream) if number == 0 else (window, stream + grown)
                elif kind == SETTINGS and not flags & 1:
                    for offset in range(0, len(payload), 6):
                        key, value = struct.unpack_from(">HL", payload, offset)
                        stream += value - 65535 if key == INITIAL_WINDOW else 0
                    writer.write(frame(SETTINGS, 1, 0))
                elif kind == HEADERS:
                    outcomes["answered"] += 1
                    return
                elif kind == 3 and number == 1:
                    outcomes["reset"] += 1
                    return
        except (OSError, EOFError):
            outcomes["broken"] += 1


Attack = Callable[[int, asyncio.Event, Counter[str]], Awaitable[None]]


@contextlib.asynccontextmanager
async def under(attack: Attack, port: int, count: int) -> AsyncIterator[Counter[str]]:
    """`count` clients attack while the context is entered."""
    ended, outcomes = asyncio.Event(), Counter[str]()
    tasks = []
    for number in range(count):
        tasks.append(asyncio.ensure_future(attack(port, ended, outcomes)))
        if number % 100 == 99:
            await asyncio.sleep(0.05)
    try:
        yield outcomes
    finally:
        ended.set()
        for result in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(result, BaseException):
                outcomes[type(result).__name__] += 1
