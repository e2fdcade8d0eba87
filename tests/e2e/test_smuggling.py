"""Requests that two servers could understand in two ways, over raw connections to the real server.

After each attack a neighbour on a connection of its own asks about two pictures in turn: had one answer too many or
too few come out of a connection to TorchServe, each of its answers would be that of the request before.
"""

import base64
import http.client
import io
import json
import re
import socket
import struct
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, suppress

import pytest

from serving.gateway.openapi.paths import PIXEL
from serving.health.torchserve_client import UnixConnection
from serving.server.launch import Server
from tests import zoo
from tests.e2e.support import PATH, in_flight, wait_for

PICTURE = base64.b64decode(PIXEL)
SMUGGLED = b"GET /workflows HTTP/1.1\r\nHost: localhost\r\n\r\n"
# The last request of each attack: where the server still listens, it answers and then closes.
LAST = b"GET /v2 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"


class Neighbour:
    def __init__(self, port: int) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        self.pictures = [zoo.CAT.read_bytes(), zoo.DOG.read_bytes()]
        self.labels = [self.ask(picture, "the-first-0") for picture in self.pictures]
        assert len(set(self.labels)) == 2

    def ask(self, picture: bytes, name: str) -> str:
        self.connection.request("POST", PATH, picture, {"X-Request-Id": name})
        response = self.connection.getresponse()
        answer = json.loads(response.read())
        assert (response.status, response.headers["X-Request-Id"]) == (200, name), answer
        return str(answer["label"])

    def is_served(self) -> bool:
        return [self.ask(picture, f"neighbour-{n}") for n, picture in enumerate(self.pictures)] == self.labels


@pytest.fixture(scope="module")
def neighbour(server: Server) -> Iterator[Neighbour]:
    made = Neighbour(server.options.ports.rest)
    with closing(made.connection):
        yield made


class Stream(io.BytesIO):
    """The bytes received over a connection, as a socket for http.client, which closes each answer's file."""

    def makefile(self, mode: str) -> "Stream":
        return self

    def close(self) -> None:
        pass


def exchange(port: int, data: bytes) -> list[tuple[int, bytes]]:
    """Status and body of all answers until the server closes, which it must do by itself."""
    received = b""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection, suppress(ConnectionError):
        connection.sendall(data)
        while part := connection.recv(65536):
            received += part
    stream, answers = Stream(received), []
    while stream.tell() < len(received):
        response = http.client.HTTPResponse(stream)  # type: ignore[arg-type]
        response.begin()
        answers.append((response.status, response.read()))
    return answers


def length(count: int) -> bytes:
    return b"Content-Length: %d\r\n" % count


def chunk(data: bytes, extension: bytes = b"") -> bytes:
    return b"%x%s\r\n%s\r\n0\r\n\r\n" % (len(data), extension, data)


def post(headers: bytes, body: bytes, host: bytes = b"Host: localhost\r\n") -> bytes:
    return b"POST " + PATH.encode() + b" HTTP/1.1\r\n" + host + headers + b"\r\n" + body


def line(text: bytes) -> bytes:
    return text + b"\r\nHost: localhost\r\n\r\n"


GOOD = post(length(len(PICTURE)), PICTURE)
IN_CHUNKS = chunk(PICTURE)
BOTH = length(len(IN_CHUNKS) + len(SMUGGLED))

# Name -> what is sent, and the statuses that come back. A 404 after a 200 is the smuggled request, refused as the
# client's own next one; where the connection goes on, the last 200 answers LAST.
LENGTHS: dict[str, tuple[bytes, list[int]]] = {
    "three in a row": (GOOD * 3, [200, 200, 200, 200]),
    "length and chunks: the chunks count": (post(BOTH + CHUNKED, IN_CHUNKS + SMUGGLED), [200, 404]),
    "length and no chunks": (post(BOTH + CHUNKED, b"0\r\n\r\n" + SMUGGLED), [400]),
    "chunks and a short length": (post(CHUNKED + length(4), chunk(SMUGGLED)), [415]),
    "two lengths": (post(length(len(PICTURE)) + length(5), PICTURE + SMUGGLED), [400]),
    "two lengths that agree": (post(length(len(PICTURE)) * 2, PICTURE + SMUGGLED), [200, 404]),
    "no length": (post(b"", PICTURE + SMUGGLED), [400]),
    "a length of 0": (post(length(0), PICTURE + SMUGGLED), [400]),
    "a padded length": (post(b"Content-Length:   %d  \r\n" % len(PICTURE), PICTURE + SMUGGLED), [200, 404]),
    "a length that is too much": (post(b"Content-Length: 9223372036854775807\r\n", PICTURE), [413]),
    **{
        f"a length of {text!r}": (post(b"Content-Length: " + text + b"\r\n", PICTURE + SMUGGLED), [400])
        for text in (b"", b"-1", b"+67", b"0x43", b"67.0", b"6_7", b"67, 67", b"9" * 20, "٦٧".encode())
    },
    "a space before the colon": (post(b"Content-Length : 67\r\n", PICTURE + SMUGGLED), [400]),
}
CODINGS: dict[str, tuple[bytes, list[int]]] = {
    repr(header): (post(header + b"\r\n" + length(len(IN_CHUNKS)), IN_CHUNKS + SMUGGLED), statuses)
    for statuses, headers in (
        ([501], [b"Transfer-Encoding: " + coding for coding in (b"xchunked", b"identity", b'"chunked"', b"")]),
        ([501], [b"Transfer-Encoding: " + coding for coding in (b"gzip, chunked", b"chunked, identity", b"chunked,")]),
        ([501], [b"Transfer-Encoding: chunked\r\nTransfer-Encoding: " + coding for coding in (b"chunked", b"cow")]),
        ([400], [b"Transfer-Encoding : chunked", b"Transfer-Encoding: \x0bchunked", b"Transfer-Encoding: \0chunked"]),
        ([400], [b"X: y\rTransfer-Encoding: chunked", b"Transfer\0-Encoding: chunked"]),
        ([200, 404], [b"TRANSFER-ENCODING:\tCHUNKED", b"Transfer-Encoding:\r\n chunked"]),
        ([200, 404], [b"X: y\nTransfer-Encoding: chunked"]),
    )
    for header in headers
}
CHUNKS: dict[str, tuple[bytes, list[int]]] = {
    "an extension": (post(CHUNKED, chunk(PICTURE, b';a="b;c"') + SMUGGLED), [200, 404]),
    "trailers": (
        post(CHUNKED, IN_CHUNKS[:-2] + b"Content-Length: 5\r\nX-Top-K: 1\r\n\r\n" + SMUGGLED),
        [200, 404],
    ),
    **{
        name: (post(CHUNKED, body + SMUGGLED), [400])
        for name, body in {
            "a long extension": chunk(PICTURE, b";" + b"a" * 20_000),
            "an extension that ends in LF": IN_CHUNKS.replace(b"\r\n", b";\n", 1),
            "a CR in an extension": chunk(PICTURE, b";a\rb"),
            "no number": b"xyz\r\n",
            "a negative number": b"-1\r\n",
            "a number with a prefix": b"0x" + IN_CHUNKS,
            "a number that overflows": b"100000000000000" + IN_CHUNKS,
            "no line end after a chunk": IN_CHUNKS.replace(b"\r\n0", b"0"),
            "an empty line before": b"\r\n" + IN_CHUNKS,
            "trailers that are none": IN_CHUNKS[:-2] + b"foo bar\r\n\r\n",
        }.items()
    },
}
HEADERS: dict[str, tuple[bytes, list[int]]] = {
    **{
        repr(header[:30]): (post(header + b"\r\n" + length(len(PICTURE)), PICTURE + SMUGGLED), [400])
        for header in (b"X: a\rb", b"X: a\r", b"X: a\0b", b"X Y: a", b"X\0: a", b": a", b"XY", b"X: \x7f", b" X: a")
    },
    **{
        repr(header[:30]): (post(header + b"\r\n" + length(len(PICTURE)), PICTURE + SMUGGLED), [200, 404])
        for header in (
            b"X: a\r\n b",
            b"X: \xe9",
            "X: é€".encode(),
            b"Connection: keep-alive, Content-Length",
            b"Connection: Transfer-Encoding, Host",
            b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__",
            b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: c2l4dGVlbiBsZXR0ZXJzIQ==",
            b"describe: True",
            b"explain: True",
        )
    },
    "one of 100 kB": (post(b"X: " + b"a" * 100_000 + b"\r\n" + length(len(PICTURE)), PICTURE), [431]),
    "five thousand": (post(b"X: a\r\n" * 5000 + length(len(PICTURE)), PICTURE), [431]),
    "another expectation": (post(b"Expect: 200-maybe\r\n" + length(len(PICTURE)), PICTURE + SMUGGLED), [417]),
    **{
        f"{host!r} for the host": (post(length(len(PICTURE)), PICTURE + SMUGGLED, host), [400])
        for host in (b"", b"Host: a\r\nHost: b\r\n", b"Host: a b\r\n", b"Host: a/b\r\n", b"Host: a\0b\r\n")
    },
}
LINES: dict[str, tuple[bytes, list[int]]] = {
    "absolute": (line(b"GET http://localhost/v2 HTTP/1.1"), [200, 200]),
    "the next minor version": (line(b"GET /v2 HTTP/1.2"), [200, 200]),
    "HTTP/1.0": (line(b"GET /v2 HTTP/1.0"), [200]),
    "only LF": (b"GET /v2 HTTP/1.1\nHost: localhost\n\n", [200, 200]),
    "a body where none is read": (
        b"GET /v2 HTTP/1.1\r\nHost: localhost\r\n" + length(len(SMUGGLED)) + b"\r\n" + SMUGGLED,
        [400],
    ),
    "a body where no path is": (post(length(len(SMUGGLED)), SMUGGLED).replace(b"/predictions", b"/", 1), [404]),
    "a long path": (line(b"GET /" + b"a" * 100_000 + b" HTTP/1.1"), [431]),
    **{
        repr(text): (line(text), [404])
        for text in (
            b"GET http://localhost/workflows HTTP/1.1",
            b"GET elsewhere:80 HTTP/1.1",
            b"GET * HTTP/1.1",
            b"CONNECT localhost:80 HTTP/1.1",
            b"CONNECT /workflows HTTP/1.1",
            b"GET file:///etc/passwd HTTP/1.1",
            b"GET unix:/workflows HTTP/1.1",
        )
    },
    **{repr(text): (line(text), [405]) for text in (b"get /v2 HTTP/1.1", b"TRACE /v2 HTTP/1.1")},
    **{repr(text): (line(text), [505]) for text in (b"GET /v2 HTTP/2.0", b"GET /v2 HTTP/3.0")},
    **{
        repr(text[:40]): (line(text), [400])
        for text in (
            b"GET /v2",
            b"GET HTTP/1.1",
            b" /v2 HTTP/1.1",
            b"GET /v2 http/1.1",
            b"GET /v2 HTTP/1.1x",
            b"GET  /v2 HTTP/1.1",
            b"GET\t/v2 HTTP/1.1",
            b"GET /v2 x HTTP/1.1",
            b"G(T /v2 HTTP/1.1",
            b"\r\n\r\nGET /v2 HTTP/1.1",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
            bytes(range(256)) * 4,
        )
    },
}


@pytest.mark.parametrize(
    ("data", "statuses"),
    [
        pytest.param(*attack, id=f"{kind}-{name}")
        for kind, attacks in (
            *(("length", LENGTHS), ("coding", CODINGS), ("chunk", CHUNKS), ("header", HEADERS), ("line", LINES)),
        )
        for name, attack in attacks.items()
    ],
)
def test_an_attack_gets_answers_of_its_own_and_none_of_others(
    server: Server, neighbour: Neighbour, data: bytes, statuses: list[int]
) -> None:
    answers = exchange(server.options.ports.rest, data + LAST)
    assert [status for status, _ in answers] == statuses, answers
    assert neighbour.is_served()


def test_pipelined_requests_are_answered_in_their_order(server: Server, neighbour: Neighbour) -> None:
    pictures = [neighbour.pictures[number % 3 % 2] for number in range(12)]
    data = b"".join(post(length(len(picture)), picture) for picture in pictures)
    *answers, _ = exchange(server.options.ports.rest, data + LAST)
    expected = [neighbour.labels[number % 3 % 2] for number in range(12)]
    assert [json.loads(body)["label"] for _, body in answers] == expected


# TorchServe's management, workflows and descriptions, and ways around whoever looks at the path.
CLOSED = (
    ("GET", "models/other"),
    ("GET", "MODELS"),
    ("POST", "models?url=file:///x.mar"),
    ("PUT", "models/catsdogs?min_worker=0"),
    ("DELETE", "models/catsdogs"),
    ("POST", "workflows?url=file:///x.war"),
    ("GET", "api-description"),
    ("GET", "metrics"),
    ("GET", "config/admin"),
)
DETOURS = (
    "/{0}",
    "//{0}",
    "/./{0}",
    "/%2e/{0}",
    "/%2e%2e/{0}",
    "/ping/../{0}",
    "/ping/%2e%2e/{0}",
    "/ping/..%2f{0}",
    "/ping/..;/{0}",
    "/ping;/../{0}",
    "/ping/..\\{0}",
    "/ping/..%5c{0}",
    "/ping%00/../{0}",
    "/predictions/catsdogs/../../{0}",
    "/predictions/catsdogs/%2e%2e/%2e%2e/{0}",
    "/predictions/catsdogs%2f..%2f..%2f{0}",
    "/predictions/catsdogs/1.0/../../../{0}",
    "/predictions/..%c0%af{0}",
    "/%c0%ae%c0%ae/{0}",
    "/%252e%252e/{0}",
    "/v2/models/catsdogs/versions/../../../../{0}",
    "/{0}%20",
    "/{0}/",
    "/{0}?/predictions/catsdogs",
    "/{0}#/predictions/catsdogs",
    "/{0};/predictions/catsdogs",
    "http://127.0.0.1:8081/{0}",
)


def management(server: Server) -> bytes:
    """Return what TorchServe's management API reports of the model, by its socket."""
    private = server.run / "private"
    token = json.loads((private / "cwd" / "key_file.json").read_bytes())["management"]["key"]
    with closing(UnixConnection(private / "management.sock", 20)) as connection:
        connection.request("GET", "/models/catsdogs", headers={"Authorization": f"Bearer {token}"})
        described = connection.getresponse().read()
    # Memory and time differ from one question to the next.
    return b"".join(re.findall(rb'"(?:id|modelName|minWorkers|maxWorkers|status)": [^,]*', described))


@pytest.mark.parametrize("detour", DETOURS)
def test_no_detour_leads_to_what_is_closed(server: Server, neighbour: Neighbour, detour: str) -> None:
    before = management(server)
    assert b'"maxWorkers"' in before
    for method, name in CLOSED:
        request = f"{method} {detour.format(name)} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
        (status, body), *_ = exchange(server.options.ports.rest, request + LAST)
        assert status in (400, 404, 405), request
        # Go says itself what is no URL; all else is said in the gateway's words, none in TorchServe's.
        assert status == 400 or json.loads(body)["code"] in ("not_found", "method")
    assert management(server) == before
    assert neighbour.is_served()


def test_an_upgrade_is_not_made(server: Server) -> None:
    for path in (b"/", b"/v2", PATH.encode()):
        for upgrade in (b"h2c", b"websocket", b"TLS/1.0"):
            head = b" HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade, HTTP2-Settings\r\n"
            head += b"HTTP2-Settings: AAMAAABk\r\nUpgrade: "
            answers = exchange(server.options.ports.rest, b"GET " + path + head + upgrade + b"\r\n\r\n" + LAST)
            assert [status for status, _ in answers] in ([200, 200], [405])


# HTTP/2 by hand: no client would send these.
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEAD, RESET, SETTINGS, CONTINUATION = 0, 1, 3, 4, 9
END_STREAM, END_HEADERS = 1, 4
CANCEL = struct.pack(">L", 8)
Fields = Sequence[tuple[bytes, bytes]]


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return struct.pack(">L", len(payload))[1:] + struct.pack(">BBL", kind, flags, stream) + payload


def number(value: int) -> bytes:
    """An HPACK integer with a prefix of seven bits."""
    if value < 127:
        return bytes([value])
    out, value = b"\x7f", value - 127
    while value >= 128:
        out, value = out + bytes([value % 128 + 128]), value // 128
    return out + bytes([value])


def block(fields: Fields) -> bytes:
    """HPACK of literals, without Huffman's code."""
    return b"".join(b"\0" + number(len(key)) + key + number(len(value)) + value for key, value in fields)


def request(stream: int, fields: Fields, body: bytes = PICTURE) -> bytes:
    return frame(HEAD, END_HEADERS, stream, block(fields)) + frame(DATA, END_STREAM, stream, body)


def target(path: bytes = PATH.encode(), method: bytes = b"POST", authority: bytes = b"localhost") -> Fields:
    return [(b":method", method), (b":scheme", b"http"), (b":path", path), (b":authority", authority)]


def answered(received: bytes) -> dict[int, bool]:
    """Stream -> whether its status is 200, which is one byte in HPACK, the first."""
    frames: dict[int, bool] = {}
    at = 0
    while at + 10 <= len(received):
        size, kind = int.from_bytes(received[at : at + 3]), received[at + 3]
        if kind == HEAD:
            frames.setdefault(int.from_bytes(received[at + 5 : at + 9]), received[at + 9] == 0x88)
        at += 9 + size
    return frames


def speak(port: int, frames: bytes, awaited: frozenset[int] = frozenset({99})) -> dict[int, bool]:
    """Send frames and then a good request on stream 99, and return the answers by stream.

    It stops when the server closes, or has answered all streams of `awaited`.
    """
    received = b""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection, suppress(ConnectionError):
        connection.sendall(PREFACE + frame(SETTINGS, 0, 0) + frames + request(99, target()))
        while not awaited <= answered(received).keys() and (part := connection.recv(65536)):
            received += part
    return answered(received)


def test_http_2_without_a_trick_is_answered(server: Server) -> None:
    both = frozenset({1, 99})
    assert speak(server.options.ports.rest, request(1, target()), both) == {1: True, 99: True}


@pytest.mark.parametrize(
    "fields",
    [
        *(
            [*target(), field]
            for field in ((b"x", b"a\r\nX-Top-K: 1"), (b"x", b"a\0b"), (b"x\r\ny", b"a"), (b"X", b"a"))
        ),
        *([*target(), field] for field in ((b"transfer-encoding", b"chunked"), (b"connection", b"close"), (b"", b"a"))),
        *([*target(), (b"content-length", size)] for size in (b"5", b"100", b"-1", b"67, 67", b"9" * 30)),
        [*target(), (b"content-length", b"67"), (b"content-length", b"68")],
        [*target(), (b":path", b"/models")],
        [*target(), (b":status", b"200")],
        [*target(method=b"CONNECT"), (b":protocol", b"websocket")],
        [(b"x", b"a"), *target()],
        target()[:2],
        target()[1:],
        target(PATH.encode() + b" HTTP/1.1\r\nHost: localhost\r\n\r\nGET /models"),
        target(b"models"),
        target(b"/models"),
        target(b"http://localhost/models"),
        target(b"/ping/../models"),
        target(method=b"POST /models HTTP/1.1\r\nX:"),
        target(method=b"POST\t"),
        target(authority=b"localhost\r\nX-Top-K: 1"),
        target(authority=b"a/b"),
    ],
    ids=lambda fields: repr(fields[-1]),
)
def test_no_trick_of_http_2_reaches_a_server_of_http_1(server: Server, neighbour: Neighbour, fields: Fields) -> None:
    answers = speak(server.options.ports.rest, request(1, fields))
    assert answers.pop(1, False) is False
    # Or the server has closed the connection.
    assert answers in ({}, {99: True})
    assert neighbour.is_served()


@pytest.mark.parametrize("part", ["rest", "grpc"])
def test_thousands_of_streams_that_are_reset_harm_no_neighbour(server: Server, neighbour: Neighbour, part: str) -> None:
    opened = [frame(HEAD, END_HEADERS, stream, block(target())) for stream in range(1, 6000, 2)]
    flood = b"".join(head + frame(RESET, 0, 2 * n + 1, CANCEL) for n, head in enumerate(opened))
    with ExitStack() as stack:
        for _ in range(4):
            connection = socket.create_connection(("127.0.0.1", getattr(server.options.ports, part)), timeout=30)
            stack.enter_context(connection)
            with suppress(ConnectionError):
                connection.sendall(PREFACE + frame(SETTINGS, 0, 0) + flood)
            assert neighbour.is_served()
        wait_for(lambda: in_flight(server, part) == 0, 20, "nothing is left of it")


@pytest.mark.parametrize("part", ["rest", "grpc"])
def test_headers_without_end_are_cut_off(server: Server, neighbour: Neighbour, part: str) -> None:
    endless = frame(CONTINUATION, 0, 1, block([(b"x", b"a" * 8000)] * 2))

    def pour(connection: socket.socket) -> None:
        connection.sendall(PREFACE + frame(SETTINGS, 0, 0) + frame(HEAD, 0, 1, block(target())))
        for _ in range(10_000):
            connection.sendall(endless)

    address = ("127.0.0.1", getattr(server.options.ports, part))
    with socket.create_connection(address, timeout=30) as connection, pytest.raises(ConnectionError):
        pour(connection)
    assert neighbour.is_served()
