"""The relay on its own, before a TorchServe that writes down what it is given."""

import asyncio
import gc
import http.client
import io
import json
import socket
import tempfile
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingUnixStreamServer
from typing import Any

import pytest

from serving.gateway.relay import grpc
from serving.gateway.relay.budget import Budget
from serving.gateway.relay.explain import MAX_AT_ONCE
from serving.gateway.relay.log import Log
from serving.gateway.relay.process import run_loop
from serving.gateway.relay.server import serve
from serving.gateway.relay.status import PREFIX
from serving.health.torchserve_client import UnixConnection
from serving.wire import field as wire_field
from tests.e2e.support import wait_for

PATH = "/predictions/catsdogs"
EXPLANATIONS = "/explanations/catsdogs"
FACTS = {"name": "catsdogs", "version": "1.2.3", "classes": ["cat", "dog"], "server": "0"}


@dataclass
class TorchServe:
    """Answers as it is told to, and keeps what it was asked."""

    seen: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)
    status: int = 200
    document: dict[str, Any] = field(default_factory=dict)
    content_type: str = "application/json"
    seconds: float = 0.0
    """How long each answer takes."""
    token: str = ""
    """Without it in a request, that is refused as TorchServe does."""
    hold: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.hold.set()


def server(path: Path, torchserve: TorchServe) -> ThreadingUnixStreamServer:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            torchserve.seen.append((self.path, {key.lower(): value for key, value in self.headers.items()}, body))
            torchserve.hold.wait(30)
            time.sleep(torchserve.seconds)
            known = not torchserve.token or self.headers.get("Authorization") == f"Bearer {torchserve.token}"
            document = torchserve.document if known else {"code": 400, "type": "InvalidKeyException"}
            data = json.dumps(document).encode()
            self.send_response(torchserve.status if known else 400)
            self.send_header("Content-Type", torchserve.content_type)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    made = ThreadingUnixStreamServer(str(path), Handler)
    made.daemon_threads = True
    threading.Thread(target=made.serve_forever, daemon=True).start()
    return made


@contextmanager
def relayed(run: Path, budget: Budget | None = None, log: Log | None = None) -> Iterator[None]:
    """A relay in a thread of its own."""
    (run / "model.json").write_text(json.dumps(FACTS))
    started, stop = threading.Event(), threading.Event()

    async def main() -> int:
        async with serve(run, budget, log):
            started.set()
            await asyncio.get_running_loop().run_in_executor(None, stop.wait)
        return 0

    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(run_loop, main())
        try:
            wait_for(lambda: started.is_set() or done.done(), 20, "the relay is started")
            yield
        finally:
            stop.set()
            assert done.result(20) == 0


@pytest.fixture
def run() -> Iterator[Path]:
    # A unix socket's path may have 107 bytes.
    with tempfile.TemporaryDirectory(prefix="relay-", dir="/tmp") as folder:
        yield Path(folder)


@pytest.fixture
def torchserve(run: Path) -> Iterator[TorchServe]:
    made = TorchServe()
    with server(run / "inference.sock", made) as running:
        yield made
        made.hold.set()
        running.shutdown()


def post(
    run: Path, body: bytes = b"a picture", path: str = PATH, **headers: str
) -> tuple[int, http.client.HTTPMessage, Any]:
    with closing(UnixConnection(run / "relay.sock", 30)) as connection:
        connection.request("POST", path, body, {name.replace("_", "-"): value for name, value in headers.items()})
        response = connection.getresponse()
        text = response.read()
        is_json = "json" in response.headers.get("Content-Type", "")
        return response.status, response.headers, json.loads(text) if is_json and text else None


def test_torchserve_gets_the_body_and_few_headers(run: Path, torchserve: TorchServe) -> None:
    torchserve.document = {"label": "cat"}
    (run / "inference.key").write_text("secret\n")
    before = int(1000 * time.time())
    with relayed(run):
        passed = {"X-Request-Id": "mine", "X-Top-K": "3", "X-Timeout-Ms": "500", "X-Catsdogs-Protocol": "v1"}
        status, _, document = post(run, bytes(3 << 20), **passed, Cookie="a=b", Accept="text/html", X_Request_Start="1")
    ((path, headers, body),) = torchserve.seen
    assert (status, document, path, body) == (200, {"label": "cat"}, PATH, bytes(3 << 20))
    assert before <= int(headers.pop("x-request-start")) <= int(1000 * time.time())
    assert headers == {
        "host": "torchserve",
        "authorization": "Bearer secret",
        "content-type": "application/octet-stream",
        "content-length": str(3 << 20),
        "x-request-id": "mine",
        "x-top-k": "3",
        "x-timeout-ms": "500",
        "x-catsdogs-protocol": "v1",
    }


def test_as_many_headers_as_the_gateway_takes_are_taken(run: Path, torchserve: TorchServe) -> None:
    """Some 1,800 short ones find room in its 16 KiB."""
    with relayed(run):
        assert post(run, b"a picture", PATH, **{f"a{number}": "" for number in range(1800)})[0] == 200
    assert len(torchserve.seen[0][1]) < 10


def test_a_problem_of_the_handler_is_passed_on_as_it_is(run: Path, torchserve: TorchServe) -> None:
    torchserve.status, torchserve.content_type = 415, "application/problem+json"
    torchserve.document = {"status": 415, "code": "unsupported_image", "detail": "no", "request_id": "r"}
    with relayed(run):
        status, headers, document = post(run)
    assert (status, headers["Content-Type"], document) == (415, "application/problem+json", torchserve.document)


@pytest.mark.parametrize(
    ("code_inside", "status", "code", "detail"),
    [
        (404, 404, "not_found", "version 1.2.3"),
        (503, 503, "overloaded", "queue"),
        (400, 400, "bad_request", ""),
        (500, 500, "internal", "ended"),
        (507, 500, "internal", "ended"),
    ],
)
def test_what_torchserve_says_itself_is_put_in_our_words(
    run: Path, torchserve: TorchServe, code_inside: int, status: int, code: str, detail: str
) -> None:
    torchserve.status, torchserve.document = (
        code_inside,
        {"code": code_inside, "type": "SomeException", "message": "Java"},
    )
    with relayed(run):
        answered, headers, document = post(run, X_Request_Id="mine")
    assert (answered, document["code"], document["request_id"]) == (status, code, "mine")
    assert headers["Content-Type"] == "application/problem+json"
    assert headers.get("Retry-After") == ("1" if status == 503 else None)
    assert detail in document["detail"]
    assert "Java" not in document["detail"]


def test_a_new_token_may_arrive_a_moment_after_torchserve(run: Path, torchserve: TorchServe) -> None:
    (run / "inference.key").write_text("old")
    torchserve.token = "new"
    with relayed(run), ThreadPoolExecutor(1) as pool:
        asked = pool.submit(post, run)
        wait_for(lambda: len(torchserve.seen) >= 2, 20, "the old token is tried again")
        (run / "inference.key").write_text("new")
        assert asked.result(20)[0] == 200
    # While the file is written it may be empty.
    sent = [headers.get("authorization") for _, headers, _ in torchserve.seen]
    assert (sent[0], sent[-1]) == ("Bearer old", "Bearer new")


def test_a_token_that_never_comes_is_overloaded(
    run: Path, torchserve: TorchServe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serving.gateway.relay.upstream.DIAL_S", 0.3)
    torchserve.token = "new"
    with relayed(run):
        status, _, document = post(run)
        counted = telemetry(run)
    assert (status, document["code"]) == (503, "overloaded")
    assert 'catsdogs_request_duration_seconds_count{code="503",protocol="rest",traffic="user"} 1.0' in counted
    assert 'catsdogs_problems_total{code="overloaded",traffic="user"} 1.0' in counted
    assert "catsdogs_torchserve_up 0.0" in counted


def telemetry(run: Path) -> list[str]:
    """Return the lines of a scrape."""
    with closing(UnixConnection(run / "telemetry.sock", 30)) as connection:
        connection.request("GET", "/metrics")
        return connection.getresponse().read().decode().splitlines()


def shows(run: Path, line: str) -> Callable[[], bool]:
    return lambda: line in telemetry(run)


def test_what_is_in_flight_is_told_and_a_client_that_left_before_its_answer_has_a_code_of_its_own(
    run: Path, torchserve: TorchServe
) -> None:
    torchserve.hold.clear()
    with relayed(run):
        with closing(begin(run, 500, announced=1000)) as waiting:
            wait_for(shows(run, 'catsdogs_requests_in_flight{stage="upload"} 1.0'), 20, "it is uploading")
            waiting.sendall(bytes(500))
            wait_for(shows(run, 'catsdogs_requests_in_flight{stage="torchserve"} 1.0'), 20, "TorchServe is asked")
            assert "catsdogs_queue_requests 1.0" in telemetry(run)
        torchserve.hold.set()
        left = 'catsdogs_request_duration_seconds_count{code="499",protocol="rest",traffic="user"} 1.0'
        wait_for(shows(run, left), 20, "it has left")
        assert 'catsdogs_requests_in_flight{stage="torchserve"} 0.0' in telemetry(run)


def test_no_line_about_a_refusal_breaks_counting(run: Path) -> None:
    good = {"protocol": "grpc", "code": "401", "problem": "unauthorized", "probe": "", "duration": 0.001}
    bad: list[object] = [
        {},
        [],
        1,
        None,
        {**good, "protocol": "made up"},
        {**good, "code": "x"},
        {**good, "duration": []},
    ]
    lines = [b"\xff", b"{", *(json.dumps(entry).encode() for entry in [*bad, good])]
    counted = 'catsdogs_request_duration_seconds_count{code="401",protocol="grpc",traffic="user"} '
    with relayed(run):
        for number, sent in enumerate((lines, [b"x" * 200_000], lines)):
            with closing(socket.socket(socket.AF_UNIX)) as caddy:
                caddy.connect(str(run / "refused.sock"))
                with suppress(BrokenPipeError):  # the relay closes what it cannot read
                    caddy.sendall(b"".join(line + b"\n" for line in sent))
            wait_for(shows(run, f"{counted}{(1, 1, 2)[number]}.0"), 20, "every good line is counted")


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_a_failure_is_logged_with_its_request_id_and_nothing_else_is(
    run: Path, torchserve: TorchServe, capfd: pytest.CaptureFixture[str]
) -> None:
    with relayed(run):
        post(run, X_Request_Id="good")
        torchserve.status, torchserve.document = 503, {"type": "x"}
        post(run, X_Request_Id="refused")
        torchserve.status = 500
        post(run, X_Request_Id="mine")
    (line,) = lines(capfd.readouterr().err)
    assert (line["event"], line["request_id"], line["status"], line["code"]) == ("failure", "mine", 500, "internal")


def test_an_access_log_has_a_line_for_each_prediction(
    run: Path, torchserve: TorchServe, capfd: pytest.CaptureFixture[str]
) -> None:
    torchserve.document = {"label": "cat"}
    with relayed(run, log=Log(access=True)):
        post(run, X_Request_Id="good")
        post(run, bytes((16 << 20) + 1), X_Request_Id="large")
    good, large = lines(capfd.readouterr().err)
    assert (good["request_id"], good["status"], good["label"], good["bytes"]) == ("good", 200, "cat", len(b"a picture"))
    assert good["ms"] > 0
    assert (large["request_id"], large["status"], large["code"], large["label"]) == (
        "large",
        413,
        "too_many_bytes",
        None,
    )


def test_failures_cannot_fill_the_log() -> None:
    written, now = io.StringIO(), [0.0]
    log = Log(stream=written, clock=lambda: now[0])
    for _ in range(10_000):
        log.request(500, {"request_id": "x" * 100})
    assert len(written.getvalue()) <= 64 << 10
    now[0] = 60.0
    log.request(500, {"request_id": "later"})
    *_, later, dropped = lines(written.getvalue())
    assert later["request_id"] == "later"
    assert dropped["lines"] > 9_000


def test_no_torchserve_is_overloaded(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serving.gateway.relay.upstream.DIAL_S", 0.3)
    with relayed(run):
        status, _, document = post(run)
    assert (status, document["code"]) == (503, "overloaded")


def test_a_torchserve_that_comes_back_is_asked(run: Path) -> None:
    torchserve = TorchServe()
    with relayed(run), ThreadPoolExecutor(1) as pool:
        asked = pool.submit(post, run)
        with server(run / "inference.sock", torchserve) as running:
            assert asked.result(20)[0] == 200
            running.shutdown()


def test_a_body_of_more_than_16_mib_is_refused_by_its_length_and_without_one(run: Path, torchserve: TorchServe) -> None:
    with relayed(run):
        assert post(run, bytes(16 << 20))[0] == 200
        assert post(run, bytes((16 << 20) + 1))[0] == 413
        with closing(UnixConnection(run / "relay.sock", 30)) as connection:
            connection.request("POST", PATH, iter([bytes(1 << 20)] * 17), encode_chunked=True)
            assert connection.getresponse().status == 413
    assert len(torchserve.seen) == 1


def test_a_compressed_body_is_passed_on_as_it_came(run: Path, torchserve: TorchServe) -> None:
    """Nothing here decompresses: a few kilobytes could become gigabytes."""
    with relayed(run):
        post(run, b"\x1f\x8b not gzip", Content_Encoding="gzip")
    assert torchserve.seen[0][2] == b"\x1f\x8b not gzip"


def begin(run: Path, sent: int, announced: int = 1 << 20) -> socket.socket:
    """An upload that stalls."""
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(20)
    connection.connect(str(run / "relay.sock"))
    connection.sendall(f"POST {PATH} HTTP/1.1\r\nHost: h\r\nContent-Length: {announced}\r\n\r\n".encode() + bytes(sent))
    return connection


def holds(budget: Budget, count: int) -> Callable[[], bool]:
    return lambda: len(budget.tickets) == count and all(ticket.size for ticket in budget.tickets)


def test_stalled_uploads_make_room_for_a_client_that_sends(run: Path, torchserve: TorchServe) -> None:
    budget = Budget(max_requests=8)
    with relayed(run, budget):
        stalled = [begin(run, 1000) for _ in range(8)]
        wait_for(holds(budget, 8), 20, "eight uploads are held")
        assert post(run)[0] == 503, "they are young"
        for ticket in budget.tickets:
            ticket.started -= 10
        for _ in range(3):
            assert post(run)[0] == 200
        answers = [connection.recv(1000) for connection in stalled[:1]]
        for connection in stalled:
            connection.close()
    assert answers[0].startswith(b"HTTP/1.1 503")


def test_bodies_beyond_the_budget_are_refused_and_small_ones_answered(run: Path, torchserve: TorchServe) -> None:
    budget = Budget(max_bytes=8 << 20, max_large_bytes=6 << 20)
    torchserve.hold.clear()
    with relayed(run, budget), ThreadPoolExecutor(8) as pool:
        held = [pool.submit(post, run, bytes(3 << 20)) for _ in range(2)]
        wait_for(lambda: len(torchserve.seen) == 2, 20, "two large bodies are with TorchServe")
        assert post(run, bytes(3 << 20))[0] == 503
        small = pool.submit(post, run, bytes(100_000))
        wait_for(lambda: len(torchserve.seen) == 3, 20, "the small one is with TorchServe")
        assert budget.bytes <= budget.max_bytes
        torchserve.hold.set()
        assert [attempt.result(20)[0] for attempt in (*held, small)] == [200, 200, 200]
    assert (budget.bytes, budget.large_bytes, budget.tickets) == (0, 0, {})


def test_few_explanations_are_computed_at_once_and_predictions_find_room(run: Path, torchserve: TorchServe) -> None:
    torchserve.document = {"class": "cat"}
    torchserve.hold.clear()
    with relayed(run), ThreadPoolExecutor(MAX_AT_ONCE + 1) as pool:
        held = [pool.submit(post, run, path=EXPLANATIONS) for _ in range(MAX_AT_ONCE)]
        wait_for(lambda: len(torchserve.seen) == MAX_AT_ONCE, 20, "as many as may be are with TorchServe")
        status, headers, problem = post(run, path=EXPLANATIONS)
        assert (status, headers["Retry-After"], problem["code"]) == (503, "1", "overloaded")
        prediction = pool.submit(post, run)
        wait_for(lambda: len(torchserve.seen) == MAX_AT_ONCE + 1, 20, "the prediction is with TorchServe")
        torchserve.hold.set()
        assert [attempt.result(20)[0] for attempt in (*held, prediction)] == [200] * (MAX_AT_ONCE + 1)
        assert post(run, path=EXPLANATIONS)[0] == 200, "there is room again"


def test_an_explanation_that_fails_gives_its_room_back(run: Path, torchserve: TorchServe) -> None:
    torchserve.status, torchserve.document = 500, {"code": 500, "type": "InternalServerException"}
    with relayed(run):
        assert [post(run, path=EXPLANATIONS)[0] for _ in range(2 * MAX_AT_ONCE)] == [500] * 2 * MAX_AT_ONCE


def test_a_prediction_is_no_explanation(run: Path, torchserve: TorchServe) -> None:
    """An archive that was packed before there were explanations has a handler that predicts instead."""
    torchserve.document = {"label": "cat", "probability": 0.9}
    with relayed(run):
        for query in ("", "?format=png"):
            status, _, problem = post(run, path=f"{EXPLANATIONS}{query}")
            assert (status, problem["code"]) == (404, "no_explanation")
            assert "packed before" in problem["detail"]


def test_an_answer_that_should_say_whether_it_is_unsure_and_does_not_is_refused(
    run: Path, torchserve: TorchServe
) -> None:
    """The handler of an older archive passes over the question."""
    with relayed(run):
        torchserve.document = {"label": "cat", "probability": 0.9}
        status, _, problem = post(run, X_Catsdogs_Unsure="true")
        assert (status, problem["code"]) == (400, "bad_request")
        assert "no threshold" in problem["detail"]
        assert [post(run, X_Catsdogs_Unsure="false")[0], post(run)[0]] == [200, 200]
        torchserve.document["unsure"] = True
        assert post(run, X_Catsdogs_Unsure="true")[2] == torchserve.document


def test_an_upload_that_takes_too_long_is_incomplete(
    run: Path, torchserve: TorchServe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serving.gateway.relay.body.receive.__defaults__", (16 << 20, 0.3))
    with relayed(run), closing(begin(run, 1000)) as connection:
        answer = connection.recv(10_000)
    assert answer.startswith(b"HTTP/1.1 400")
    assert b'"code":"incomplete"' in answer


def test_a_client_that_leaves_gives_its_room_back(run: Path, torchserve: TorchServe) -> None:
    budget = Budget()
    with relayed(run, budget):
        begin(run, 1000).close()
        with closing(begin(run, 1000)):
            wait_for(holds(budget, 1), 20, "one upload is held")
        wait_for(lambda: not budget.tickets, 20, "none is held")
    assert not torchserve.seen


def call(run: Path, path: str, message: bytes) -> None:
    post(run, PREFIX.pack(False, len(message)) + message, path, Content_Type="application/grpc")


def abandon(run: Path) -> None:
    begin(run, 2 << 20, announced=3 << 20).close()


PREDICTIONS = f"{grpc.INFERENCE}Predictions"
LONG_KEY = wire_field(3, wire_field(1, b"k" * (2 << 20) + "\N{GRINNING FACE}".encode()) + wire_field(2, b"x"))
REFUSED: dict[str, Callable[[Path], None]] = {
    "another model": lambda run: call(
        run, PREDICTIONS, wire_field(1, b"other") + wire_field(3, wire_field(2, bytes(2 << 20)))
    ),
    "a long key": lambda run: call(run, PREDICTIONS, wire_field(1, b"catsdogs") + LONG_KEY),
    "a broken message": lambda run: call(run, PREDICTIONS, b"\x0f" * (2 << 20)),
    "a question of megabytes": lambda run: call(run, "/inference.GRPCInferenceService/ModelReady", bytes(2 << 20)),
    "an upload that is abandoned": abandon,
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_refused_leaves_nothing_in_memory(run: Path, torchserve: TorchServe, kind: str) -> None:
    """Without the garbage collector, which nothing would call for a few large bodies in a cycle."""
    budget = Budget()
    with relayed(run, budget):
        REFUSED[kind](run)
        wait_for(lambda: not budget.tickets, 20, "the request has ended")
        gc.collect()
        gc.disable()
        tracemalloc.start()
        try:
            before, _ = tracemalloc.get_traced_memory()
            for _ in range(8):
                REFUSED[kind](run)
                wait_for(lambda: not budget.tickets, 20, "the request has ended")
            wait_for(lambda: tracemalloc.get_traced_memory()[0] - before < 2 << 20, 20, "what was refused is let go")
        finally:
            tracemalloc.stop()
            gc.enable()
    assert not torchserve.seen


def test_a_call_of_several_pictures_ends_at_its_deadline(run: Path, torchserve: TorchServe) -> None:
    torchserve.document = {"label": "cat", "probability": 1.0, "probabilities": {"cat": 1.0, "dog": 0.0}}
    torchserve.seconds = 0.2
    tensor = wire_field(1, b"image") + wire_field(2, b"BYTES") + wire_field(5, wire_field(8, b"a picture") * 20)
    message = wire_field(1, b"catsdogs") + wire_field(5, tensor)
    body = PREFIX.pack(False, len(message)) + message
    with relayed(run):
        path = "/inference.GRPCInferenceService/ModelInfer"
        _, headers, _ = post(run, body, path, Content_Type="application/grpc", Grpc_Timeout="500m")
    assert headers["Grpc-Status"] == "4"
    assert len(torchserve.seen) < 5


def test_a_call_of_several_pictures_ends_with_its_client(run: Path, torchserve: TorchServe) -> None:
    torchserve.document = {"label": "cat", "probability": 1.0, "probabilities": {"cat": 1.0, "dog": 0.0}}
    torchserve.hold.clear()
    tensor = wire_field(1, b"image") + wire_field(2, b"BYTES") + wire_field(5, wire_field(8, b"a picture") * 20)
    message = wire_field(1, b"catsdogs") + wire_field(5, tensor)
    body = PREFIX.pack(False, len(message)) + message
    budget = Budget()
    with relayed(run, budget):
        with closing(UnixConnection(run / "relay.sock", 30)) as connection:
            connection.request("POST", grpc.LARGE[1], body, {"Content-Type": "application/grpc"})
            wait_for(lambda: len(torchserve.seen) == 1, 20, "TorchServe has the first picture")
        torchserve.hold.set()
        wait_for(lambda: not budget.tickets, 20, "the call has ended")
    assert len(torchserve.seen) < 5


def test_a_call_that_brings_no_picture_takes_no_room_from_those_that_do(run: Path, torchserve: TorchServe) -> None:
    budget = Budget(max_requests=1)
    with relayed(run, budget), closing(begin(run, 1000)):
        wait_for(holds(budget, 1), 20, "the one place is taken")
        _, headers, _ = post(run, PREFIX.pack(False, 0), f"{grpc.HEALTH}Check", Content_Type="application/grpc")
    assert "Grpc-Status" not in headers, "it was answered"
