"""Tests of the server's log at its default settings: clients cannot fill a disk."""

import http.client
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import closing
from itertools import cycle, islice
from pathlib import Path

import pytest

from serving.server.launch import Server
from tests import zoo
from tests.e2e.support import PATH, start
from tests.mutations import mutants

COUNT = 500
# Of all that is written, by each request on average.
MOST = 200

Request = tuple[str, str, bytes, Mapping[str, str]]


def form(kind: str, part: bytes) -> tuple[bytes, dict[str, str]]:
    head = f'--edge\r\nContent-Disposition: form-data; name="data"; filename="x"\r\nContent-Type: {kind}\r\n\r\n'
    return head.encode() + part + b"\r\n--edge--\r\n", {"Content-Type": "multipart/form-data; boundary=edge"}


def bad() -> Iterator[Request]:
    """Requests of all the kinds that are refused, in turn."""
    yield from (("POST", PATH, body, {}) for body, _, _ in zoo.refused().values())
    yield from (("POST", PATH, body, {}) for body in mutants(seed=2, count=60))
    for kind, part in (("application/json", b"{"), ("text/plain", b"\xff"), ("text/plain; charset=x", b"hello")):
        yield "POST", PATH, *form(kind, part)
    yield "POST", PATH, b"no form at all", {"Content-Type": "multipart/form-data; boundary=edge"}
    yield "POST", PATH, b"", {"X-Large": "x" * 10_000}
    yield "POST", PATH, b"x", {"X-Timeout-Ms": "soon"}
    yield "POST", f"{PATH}?top_k=-1", b"x", {}
    yield "POST", f"{PATH}/9.9.9", b"x", {}
    yield "POST", "/v1/models/catsdogs:predict", b'{"instances": [{"b64": "!"}]}', {}
    yield "POST", "/v2/models/catsdogs/infer", b"[" * 100_000, {}
    yield "GET", "/models", b"", {}
    yield "DELETE", PATH, b"", {}


def send(server: Server, requests: Iterator[Request]) -> Counter[int]:
    statuses: Counter[int] = Counter()
    with closing(http.client.HTTPConnection("127.0.0.1", server.options.ports.rest, timeout=60)) as connection:
        for method, path, body, headers in requests:
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            json.loads(response.read())
            statuses[response.status] += 1
    return statuses


@pytest.mark.parametrize("kind", ["good", "bad"])
def test_a_request_leaves_less_than_two_hundred_bytes_behind(
    archive: Path, kind: str, capfd: pytest.CaptureFixture[str]
) -> None:
    good: list[Request] = [("POST", PATH, picture.read_bytes(), {}) for picture in (zoo.CAT, zoo.DOG)]
    with start(archive) as started:
        capfd.readouterr()
        requests = islice(cycle(good if kind == "good" else bad()), COUNT)
        statuses = send(started, requests)
        logs = [path.read_text() for path in (started.run / "logs").rglob("*") if path.is_file()]
    written = "".join([*capfd.readouterr(), *logs])
    assert statuses.total() == COUNT
    assert set(statuses) == ({200} if kind == "good" else {200, 400, 404, 405, 413, 415, 422})
    assert len(written.encode()) < MOST * COUNT, written[:5000]
