"""Connections to TorchServe's REST socket, kept for the next request: HTTP/1.1 as its Java speaks it, and no more.

A client library costs a third of the relay's time, for what this one peer never does: chunks, redirects, encodings.
An answer in any other form than a status, headers and a body of the announced length ends its connection.
"""

import asyncio
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

CONNECT_S = 1.0
# Idle connections are closed after this long, so that a peak leaves none behind.
KEPT_S = 60.0
MAX_HEAD = 16 << 10
MAX_ANSWER = 1 << 20
# Of a length; int() refuses thousands of them by an error of its own.
MAX_DIGITS = 15


class NotConnected(Exception):
    """There is no TorchServe at the socket. Nothing was sent."""


class Broken(Exception):
    """The connection ended before its answer, or the answer cannot be read."""


class TooLarge(Exception):
    """The answer is larger than it may be."""


class Reply(NamedTuple):
    status: int
    content_type: str
    body: bytes


class Head(NamedTuple):
    """The first part of an answer."""

    status: int
    content_type: str
    length: int
    keeps: bool
    """Whether the connection stays open after it."""


def read_head(data: bytes) -> Head:
    """Read a status line and headers, without the empty line after them.

    Raises:
        Broken: they cannot be read.
    """
    status_line, *lines = data.split(b"\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(b":") for line in lines)}
    version, _, rest = status_line.partition(b" ")
    status, length = rest[:3], headers.get(b"content-length", b"")
    if version != b"HTTP/1.1" or not status.isdigit() or not length.isdigit() or b"transfer-encoding" in headers:
        raise Broken
    if len(length) > MAX_DIGITS or data.lower().count(b"\r\ncontent-length:") != 1:
        raise Broken
    keeps = headers.get(b"connection", b"").lower() != b"close"
    return Head(int(status), headers.get(b"content-type", b"").decode("latin-1"), int(length), keeps)


class Connection(asyncio.Protocol):
    """One connection, which has at most one request under way."""

    transport: asyncio.Transport

    def __init__(self, pool: "Connections") -> None:
        self.pool = pool
        self.answer: asyncio.Future[Reply] | None = None
        self.received = bytearray()
        self.head: Head | None = None
        self.idle_since = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]

    def ask(self, head: bytes, chunks: Iterable[bytes | memoryview]) -> "asyncio.Future[Reply] | None":
        """Send a request. Return None where the connection has ended and nothing was sent."""
        if self.transport.is_closing():
            return None
        self.answer = asyncio.get_running_loop().create_future()
        self.transport.writelines([head, *chunks])
        if self.transport.is_closing():
            # Event loops write at once what they can: the other side was gone before the first byte.
            self.answer = None
        return self.answer

    def data_received(self, data: bytes) -> None:
        if self.answer is None or self.answer.done():
            self.transport.abort()  # nothing was asked
            return
        self.received += data
        try:
            self._read(self.answer)
        except (Broken, TooLarge) as error:
            self.answer.set_exception(error)
            self.transport.abort()

    def _read(self, answer: "asyncio.Future[Reply]") -> None:
        """Read what was received, and end the answer where that is all of it."""
        if self.head is None:
            end = self.received.find(b"\r\n\r\n")
            if end < 0:
                if len(self.received) > MAX_HEAD:
                    raise Broken
                return
            self.head = read_head(bytes(self.received[:end]))
            del self.received[: end + 4]
        if max(self.head.length, len(self.received)) > self.pool.max_answer:
            raise TooLarge
        if len(self.received) < self.head.length:
            return
        head, body = self.head, bytes(self.received)
        self.head, self.answer = None, None
        self.received.clear()
        if head.keeps and len(body) == head.length and not self.transport.get_write_buffer_size():
            self.pool.keep(self)
        else:
            self.transport.abort()
        answer.set_result(Reply(head.status, head.content_type, body[: head.length]))

    def connection_lost(self, error: Exception | None) -> None:
        self.pool.forget(self)
        if self.answer is not None and not self.answer.done():
            self.answer.set_exception(Broken())


class Connections:
    """The connections to one socket: as many as there are requests under way, and those that are kept."""

    def __init__(self, path: Path, max_answer: int = MAX_ANSWER) -> None:
        self.path = path
        self.max_answer = max_answer
        self.idle: list[Connection] = []
        """The one that was used last is at the end."""
        self.timer: asyncio.TimerHandle | None = None

    async def ask(self, head: bytes, chunks: Iterable[bytes | memoryview], seconds: float) -> Reply:
        """Send a request and return its answer. It is never sent twice.

        Raises:
            NotConnected: nothing was sent.
            Broken, TooLarge: there is no answer that can be read.
            TimeoutError: there is none within `seconds`.
        """
        answer = None
        while answer is None:
            kept = bool(self.idle)
            connection = self.idle.pop() if kept else await self._connect()
            answer = connection.ask(head, chunks)
            if answer is None and not kept:
                raise NotConnected
        try:
            async with asyncio.timeout(seconds):
                return await answer
        except BaseException:
            # What comes later on this connection would be taken for the next request's answer. Where the answer has
            # come all the same, the connection is kept, and another request may be under way on it.
            if connection.answer is answer:
                connection.transport.abort()
            raise

    def keep(self, connection: Connection) -> None:
        connection.idle_since = time.monotonic()
        self.idle.append(connection)
        if self.timer is None:
            self.timer = asyncio.get_running_loop().call_later(KEPT_S, self._expire)

    def forget(self, connection: Connection) -> None:
        with suppress(ValueError):
            self.idle.remove(connection)

    def close(self) -> None:
        if self.timer is not None:
            self.timer.cancel()
        for connection in self.idle:
            connection.transport.abort()

    def _expire(self) -> None:
        """Close the connections that have been idle for long enough."""
        self.timer, oldest = None, time.monotonic() - KEPT_S
        while self.idle and self.idle[0].idle_since <= oldest:
            self.idle.pop(0).transport.abort()
        if self.idle:
            delay = max(1.0, self.idle[0].idle_since - oldest)
            self.timer = asyncio.get_running_loop().call_later(delay, self._expire)

    async def _connect(self) -> Connection:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(CONNECT_S):
                _, connection = await loop.create_unix_connection(lambda: Connection(self), str(self.path))
        except (OSError, TimeoutError) as error:
            raise NotConnected from error
        return connection
