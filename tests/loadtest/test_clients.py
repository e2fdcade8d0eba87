"""Clients meet connections that end, of answers of all lengths, and of refusals."""

import http.client
import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import grpc
import pytest

from loadtest.generate.clients import Address, Answer, Contradictory, Grpc, Http, Wrong
from loadtest.generate.pictures import Picture
from tests.grpc_server import Refusal, grpc_server, problem

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


BAD = Picture(b"no picture", refusal=(415, "unsupported_image"))


@contextmanager
def grpc_client(answer: Callable[[str, bytes], bytes]) -> Iterator[Grpc]:
    with grpc_server(answer) as address:
        client = Grpc(Address(url="http://127.0.0.1", grpc=address, model="catsdogs", timeout_s=10))
        try:
            yield client
        finally:
            client.close()


def refusing(status: grpc.StatusCode, document: dict[str, Any] | None) -> Callable[[str, bytes], bytes]:
    def answer(model: str, picture: bytes) -> bytes:
        raise Refusal(status, document)

    return answer


def test_answers_of_every_length_are_read_by_grpc() -> None:
    """The length of 123 bytes is written as {, that of 376 as x 2, that of 16,384 in three bytes."""
    sizes = [*range(len(ANSWER), 400), 632, 888, 15_739, 16_383, 16_384, 31_483, 70_000]
    left = iter(sizes)
    with grpc_client(lambda model, picture: ANSWER.ljust(next(left))) as client:
        answers = [client.ask(PICTURE) for _ in sizes]
    assert answers == [Answer("cat", 0.9)] * len(sizes)


def test_a_refusal_by_grpc_is_what_the_problem_document_in_its_status_says() -> None:
    invalid = grpc.StatusCode.INVALID_ARGUMENT
    with grpc_client(refusing(invalid, problem(415, "unsupported_image"))) as client:
        assert client.ask(BAD) is None
    with (
        grpc_client(refusing(invalid, problem(422, "corrupt_image"))) as client,
        pytest.raises(Wrong, match="422 corrupt_image for a picture that must get 415 unsupported_image"),
    ):
        client.ask(BAD)


def test_a_refusal_by_grpc_of_another_status_than_invalid_argument_is_wrong() -> None:
    answer = refusing(grpc.StatusCode.INTERNAL, problem(415, "unsupported_image"))
    with grpc_client(answer) as client, pytest.raises(Wrong, match="gRPC INTERNAL"):
        client.ask(BAD)


def test_a_good_picture_that_is_refused_by_grpc_has_the_problem_s_name() -> None:
    answer = refusing(grpc.StatusCode.UNAVAILABLE, problem(503, "overloaded"))
    with grpc_client(answer) as client, pytest.raises(Wrong, match=r"^503 overloaded$"):
        client.ask(PICTURE)


def test_a_status_of_grpc_without_a_problem_document_is_named() -> None:
    with grpc_client(refusing(grpc.StatusCode.UNAVAILABLE, None)) as client, pytest.raises(Wrong, match="UNAVAILABLE"):
        client.ask(PICTURE)


def test_a_problem_document_that_comes_as_an_answer_is_wrong() -> None:
    document = json.dumps(problem(415, "unsupported_image")).encode()
    with grpc_client(lambda model, picture: document) as client:
        for picture in (PICTURE, BAD):
            with pytest.raises(Wrong):
                client.ask(picture)


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (
            {"label": "dog", "probability": 0.1, "probabilities": {"cat": 0.9, "dog": 0.1}},
            "not the most probable class",
        ),
        ({"label": "cow", "probability": 0.9, "probabilities": {"cat": 0.9, "dog": 0.1}}, "none of the classes"),
        ({"label": "cat", "probability": 0.2, "probabilities": {"cat": 0.9, "dog": 0.1}}, "two probabilities"),
    ],
)
def test_an_answer_that_contradicts_itself_is_told_from_others(answer: dict[str, Any], kind: str) -> None:
    with (
        grpc_client(lambda model, picture: json.dumps(answer).encode()) as client,
        pytest.raises(Contradictory, match=kind),
    ):
        client.ask(PICTURE)
