"""The relay's connections to TorchServe, before servers that answer as told."""

import asyncio
import socket
import tempfile
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import uvloop

from serving.gateway.relay import connections
from serving.gateway.relay.connections import Broken, Connections, NotConnected, Reply, TooLarge
from serving.gateway.relay.upstream import request_head

HEAD = request_head("/predictions/catsdogs", 4, {"X-Request-Id": "1"})
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\ncontent-length: 2\r\n\r\n{}"


class Server:
    """Sends an answer's parts, one after the other, to each request with a body of 4 bytes."""

    def __init__(self, *parts: bytes, closes: bool = False) -> None:
        self.parts = parts
        self.closes = closes
        self.connections = 0
        self.requests: list[bytes] = []
        self.tasks: list[asyncio.Task[object] | None] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.tasks.append(asyncio.current_task())
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                self.requests.append(head + await reader.readexactly(4))
                for part in self.parts:
                    writer.write(part)
                    await writer.drain()
                    await asyncio.sleep(0)
                if self.closes:
                    break
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


@pytest.fixture
def path() -> Iterator[Path]:
    # A unix socket's path may have 107 bytes.
    with tempfile.TemporaryDirectory(prefix="connections-", dir="/tmp") as folder:
        yield Path(folder) / "inference.sock"


def asked(path: Path, server: Server, work: Callable[[Connections], Awaitable[object]]) -> None:
    """Do some work with connections to a server."""

    async def main() -> None:
        listening = await asyncio.start_unix_server(server.serve, str(path))
        made = Connections(path)
        try:
            await work(made)
        finally:
            made.close()
            listening.close()
            await asyncio.gather(*filter(None, server.tasks))

    asyncio.run(main())


async def ask(made: Connections, seconds: float = 20.0) -> Reply:
    return await made.ask(HEAD, [b"ab", b"cd"], seconds)


def test_an_answer_may_come_in_any_pieces_and_its_connection_is_used_again(path: Path) -> None:
    server = Server(*(bytes([byte]) for byte in ANSWER))

    async def work(made: Connections) -> None:
        for _ in range(3):
            assert await ask(made) == Reply(200, "application/json", b"{}")

    asked(path, server, work)
    assert server.connections == 1
    assert server.requests == [HEAD + b"abcd"] * 3


def test_requests_at_once_have_a_connection_each(path: Path) -> None:
    server = Server(ANSWER)

    async def work(made: Connections) -> None:
        await asyncio.gather(*(ask(made) for _ in range(5)))
        assert len(made.idle) == 5

    asked(path, server, work)
    assert server.connections == 5


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\n{}", Broken),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n{}", Broken),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\n{}", Broken),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}", Broken),
        (b"HTTP/1.1 200 OK\r\nContent-Length: " + 5000 * b"9" + b"\r\n\r\n{}", Broken),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n{}", Broken),
        (b"HTTP/1.1 abc OK\r\nContent-Length: 2\r\n\r\n{}", Broken),
        (b"HTTP/1.1 200 OK\r\nX: " + bytes(20_000), Broken),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9999999\r\n\r\n", TooLarge),
    ],
)
def test_an_answer_in_another_form_ends_its_connection(path: Path, answer: bytes, error: type[Exception]) -> None:
    server = Server(answer)

    async def work(made: Connections) -> None:
        with pytest.raises(error):
            await ask(made)
        assert not made.idle

    asked(path, server, work)


@pytest.mark.parametrize("parts", [(), (ANSWER[:20],), (ANSWER[:-1],)], ids=["nothing", "half a head", "half a body"])
def test_a_connection_that_ends_before_its_answer_is_broken_and_nothing_is_sent_again(
    path: Path, parts: tuple[bytes, ...]
) -> None:
    server = Server(*parts, closes=True)

    async def work(made: Connections) -> None:
        with pytest.raises(Broken):
            await ask(made)

    asked(path, server, work)
    assert len(server.requests) == 1


@pytest.mark.parametrize("answer", [ANSWER + b"more", ANSWER.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")])
def test_a_connection_with_more_than_its_answer_or_told_to_close_is_not_used_again(path: Path, answer: bytes) -> None:
    server = Server(answer)

    async def work(made: Connections) -> None:
        for _ in range(2):
            assert (await ask(made)).body == b"{}"

    asked(path, server, work)
    assert server.connections == 2


def test_an_answer_that_is_late_is_never_another_request_s(path: Path) -> None:
    server = Server()

    async def work(made: Connections) -> None:
        with pytest.raises(TimeoutError):
            await ask(made, seconds=0.05)
        assert not made.idle
        server.parts = (ANSWER,)
        assert (await ask(made)).status == 200

    asked(path, server, work)
    assert server.connections == 2


def test_a_connection_that_the_server_closes_while_it_is_idle_is_forgotten(path: Path) -> None:
    server = Server(ANSWER, closes=True)

    async def work(made: Connections) -> None:
        await ask(made)
        async with asyncio.timeout(20):
            while made.idle:
                await asyncio.sleep(0.001)
        assert (await ask(made)).status == 200

    asked(path, server, work)


class Listener:
    """Answers one request on each connection, in a thread, and keeps the connection open."""

    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.bind(str(path))
        self.socket.listen()
        self.socket.settimeout(20)
        self.accepted: list[socket.socket] = []
        self.requests: list[bytes] = []

    def answer(self, connections: int) -> None:
        for _ in range(connections):
            connection, _ = self.socket.accept()
            self.accepted.append(connection)
            received = b""
            while not received.endswith(b"abcd"):
                block = connection.recv(4096)
                if not block:
                    return
                received += block
            self.requests.append(received)
            connection.sendall(ANSWER)


@pytest.mark.parametrize("loop", [uvloop.new_event_loop, asyncio.new_event_loop], ids=["uvloop", "asyncio"])
def test_what_a_closed_connection_did_not_take_is_sent_on_another_one(
    path: Path, loop: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    listener = Listener(path)
    thread = threading.Thread(target=listener.answer, args=(2,), daemon=True)
    thread.start()

    async def main() -> None:
        made = Connections(path)
        assert (await ask(made)).status == 200
        # The event loop does not learn of it before the next request is sent.
        listener.accepted[0].close()
        try:
            assert (await ask(made)).status == 200
        finally:
            made.close()

    try:
        with asyncio.Runner(loop_factory=loop) as runner:
            runner.run(main())
    finally:
        for each in (*listener.accepted, listener.socket):
            each.close()
    thread.join(20)
    assert listener.requests == [HEAD + b"abcd"] * 2


@pytest.mark.parametrize("loop", [uvloop.new_event_loop, asyncio.new_event_loop], ids=["uvloop", "asyncio"])
def test_a_request_that_is_given_up_as_its_answer_comes_does_not_break_the_next_one(
    path: Path, monkeypatch: pytest.MonkeyPatch, loop: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    async def main() -> None:
        server = Server(ANSWER)
        listening = await asyncio.start_unix_server(server.serve, str(path))
        made = Connections(path)
        following: list[asyncio.Task[Reply]] = []
        keep = made.keep

        def kept(connection: connections.Connection) -> None:
            monkeypatch.setattr(made, "keep", keep)
            keep(connection)
            # Both before the first request's task goes on.
            following.append(asyncio.create_task(ask(made)))
            asyncio.get_running_loop().call_soon(first.cancel)

        monkeypatch.setattr(made, "keep", kept)
        first = asyncio.create_task(ask(made))
        with pytest.raises(asyncio.CancelledError):
            await first
        try:
            assert (await following[0]).status == 200
        finally:
            made.close()
            listening.close()
            await asyncio.gather(*filter(None, server.tasks))
        assert server.connections == 1

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(main())


def test_idle_connections_are_closed_after_a_while(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "KEPT_S", 0.05)

    async def work(made: Connections) -> None:
        await asyncio.gather(*(ask(made) for _ in range(3)))
        async with asyncio.timeout(20):
            while made.idle:
                await asyncio.sleep(0.01)
        assert made.timer is None

    asked(path, Server(ANSWER), work)


def test_where_nobody_listens_nothing_was_sent(path: Path) -> None:
    with pytest.raises(NotConnected):
        asyncio.run(ask(Connections(path)))


@pytest.mark.parametrize("value", ["a\r\nX-Top-K: 2", "a\nb", "a\0b", "\udcff"])
def test_a_header_that_would_make_another_is_refused(value: str) -> None:
    with pytest.raises(ValueError, match=r"X-Request-Id|codec"):
        request_head("/predictions/catsdogs", 1, {"X-Request-Id": value})


def test_a_path_that_would_make_a_header_is_quoted() -> None:
    head = request_head("/predictions/a b\r\nX: 1?c", 1, {})
    assert head.split(b"\r\n")[0] == b"POST /predictions/a%20b%0D%0AX%3A%201%3Fc HTTP/1.1"
