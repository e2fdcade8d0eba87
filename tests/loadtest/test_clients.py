"""Kept connections: one that was closed while nobody asked is opened again; a request that was sent then is lost."""

import http.client
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from loadtest.clients import Address, Http
from loadtest.pictures import Picture

PICTURE = Picture(b"picture")
ANSWER = b'{"label": "cat", "probability": 0.9}'


class Server:
    """Answers so many requests of a connection, then closes it: before the next one, or having read that."""

    def __init__(self, answers: int, *, late: bool) -> None:
        self.answers, self.late = answers, late
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.closed = threading.Semaphore(0)
        self.connections = 0

    @property
    def address(self) -> Address:
        return Address(url=f"http://127.0.0.1:{self.listener.getsockname()[1]}", grpc="", model="catsdogs", timeout_s=5)

    def run(self) -> None:
        while True:
            try:
                connection = self.listener.accept()[0]
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection: socket.socket) -> None:
        with connection:
            for _ in range(self.answers):
                if not self.read(connection):
                    return
                head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(ANSWER)}\r\n\r\n"
                connection.sendall(head.encode() + ANSWER)
            if self.late:
                self.read(connection)
        self.closed.release()

    def read(self, connection: socket.socket) -> bool:
        data = b""
        while not data.endswith(PICTURE.data):
            part = connection.recv(65536)
            if not part:
                return False
            data += part
        return True


@contextmanager
def serving(answers: int, *, late: bool = False) -> Iterator[tuple[Server, Http]]:
    server = Server(answers, late=late)
    threading.Thread(target=server.run, daemon=True).start()
    client = Http(server.address)
    try:
        yield server, client
    finally:
        client.close()
        server.listener.shutdown(socket.SHUT_RDWR)
        server.listener.close()


def test_a_connection_is_kept() -> None:
    with serving(answers=3) as (server, client):
        for _ in range(3):
            assert client.ask(PICTURE) is not None
        assert server.connections == 1


def test_what_an_idle_server_closed_is_opened_again() -> None:
    with serving(answers=1) as (server, client):
        for _ in range(3):
            assert client.ask(PICTURE) is not None
            assert server.closed.acquire(timeout=5)
        assert server.connections == 3


def test_a_request_that_was_sent_and_not_answered_is_lost_and_not_sent_again() -> None:
    with serving(answers=1, late=True) as (server, client):
        assert client.ask(PICTURE) is not None
        with pytest.raises((OSError, http.client.HTTPException)):
            client.ask(PICTURE)
        assert server.connections == 1
