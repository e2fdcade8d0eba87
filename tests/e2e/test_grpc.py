import json
import os
import signal
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from google.protobuf import any_pb2, empty_pb2

from serving.health.heartbeats import live_workers
from serving.server.launch import Server
from serving.server.settings import QUEUE
from serving.wire import field, read_bytes_field, read_fields
from tests import zoo
from tests.e2e.support import PATH, command, in_flight, start, wait_for

SERVICE = "org.pytorch.serve.grpc.inference.InferenceAPIsService"
LARGE = [("grpc.max_send_message_length", -1), ("grpc.enable_retries", 0)]


@pytest.fixture
def channel(server: Server) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(f"127.0.0.1:{server.options.ports.grpc}", LARGE) as made:
        yield made


def request(messages: Any, body: bytes, model: str = "catsdogs") -> Any:
    return messages.PredictionsRequest(model_name=model, input={"data": body})


def test_a_picture_gets_the_answer_that_rest_gives(channel: grpc.Channel, stubs: Any, client: httpx.Client) -> None:
    messages, services = stubs
    answer = services.InferenceAPIsServiceStub(channel).Predictions(request(messages, zoo.CAT.read_bytes()), timeout=20)
    by_rest = client.post("/predictions/catsdogs", content=zoo.CAT.read_bytes()).json()
    assert json.loads(answer.prediction) == by_rest


def problem(error: grpc.RpcError) -> dict[str, Any]:
    """The problem document in the details of an error, read by the library."""
    metadata = {entry.key: entry.value for entry in error.trailing_metadata()}
    entries = [value for number, value in read_fields(metadata["grpc-status-details-bin"]) if number == 3]
    documents = [any_pb2.Any.FromString(bytes(entry)) for entry in entries if isinstance(entry, memoryview)]
    kinds = [document.type_url.rpartition(".")[2] for document in documents]
    assert kinds == ["ErrorInfo", "HttpBody"]
    return dict(json.loads(read_bytes_field(documents[1].value, 2)))


@pytest.mark.parametrize("kind", zoo.refused())
def test_a_bad_picture_gets_a_status_and_the_problem_that_rest_gives(
    channel: grpc.Channel, stubs: Any, client: httpx.Client, kind: str
) -> None:
    messages, services = stubs
    body, status, code = zoo.refused()[kind]
    with pytest.raises(grpc.RpcError) as raised:
        services.InferenceAPIsServiceStub(channel).Predictions(request(messages, body), timeout=20)
    by_rest = client.post(PATH, content=body).json()
    assert (by_rest["status"], by_rest["code"]) == (status, code)
    by_grpc = problem(raised.value)
    assert by_grpc.pop("request_id") != by_rest.pop("request_id")
    assert by_grpc == by_rest
    assert raised.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert raised.value.details() == by_rest["detail"]


def test_a_call_has_the_request_id_that_its_metadata_gives(channel: grpc.Channel, stubs: Any) -> None:
    messages, services = stubs
    with pytest.raises(grpc.RpcError) as raised:
        services.InferenceAPIsServiceStub(channel).Predictions(
            request(messages, b"x"), timeout=20, metadata=(("x-request-id", "mine:1"),)
        )
    assert problem(raised.value)["request_id"] == "mine:1"


def test_bad_pictures_do_not_harm_their_neighbours_of_either_protocol(
    channel: grpc.Channel, stubs: Any, client: httpx.Client
) -> None:
    """96 requests, half of them by gRPC and half of them bad: the batches of two workers mix them."""
    messages, services = stubs
    service = services.InferenceAPIsServiceStub(channel)
    good = {body: client.post(PATH, content=body).json() for body in (zoo.CAT.read_bytes(), zoo.DOG.read_bytes())}
    bad = {body: code for body, _, code in zoo.refused().values()}
    bodies = [body for pair in zip(cycle(good), cycle(bad), range(24)) for body in pair[:2] for _ in range(2)]

    def ask(number: int) -> dict[str, Any]:
        if number % 2:
            try:
                answer = service.Predictions(request(messages, bodies[number]), timeout=60)
            except grpc.RpcError as error:
                return problem(error)
            return dict(json.loads(answer.prediction))
        return dict(client.post(PATH, content=bodies[number], timeout=60).json())

    with ThreadPoolExecutor(24) as pool:
        answers = list(pool.map(ask, range(len(bodies))))
    for body, answer in zip(bodies, answers, strict=True):
        if body in bad:
            assert answer["code"] == bad[body]
        else:
            # Kernels for another batch size round otherwise.
            assert answer.pop("probability") == pytest.approx(good[body]["probability"], abs=2e-3)
            assert answer.pop("probabilities") == pytest.approx(good[body]["probabilities"], abs=2e-3)
            assert answer == {key: good[body][key] for key in ("label", "model")}


def test_ping_tells_the_truth_in_torchserves_words(channel: grpc.Channel, stubs: Any) -> None:
    _, services = stubs
    health = services.InferenceAPIsServiceStub(channel).Ping(empty_pb2.Empty(), timeout=20).health
    assert json.loads(health) == {"status": "Healthy"}


def test_too_large_a_picture_is_told_so(channel: grpc.Channel, stubs: Any) -> None:
    messages, services = stubs
    with pytest.raises(grpc.RpcError) as raised:
        services.InferenceAPIsServiceStub(channel).Predictions(request(messages, bytes(17 * 2**20)), timeout=30)
    assert raised.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED


@pytest.mark.parametrize(
    "names",
    [
        {"model_name": "other"},
        {"model_name": "catsdogs", "model_version": "9.9.9"},
        {"model_name": 'Model "catsdogs" has no worker\nInternalServerException.()'},
        {"model_name": "\n{err.message}\u00e9%0A"},
    ],
)
def test_an_unknown_model_or_version_is_not_found(
    channel: grpc.Channel, stubs: Any, client: httpx.Client, names: dict[str, str]
) -> None:
    messages, services = stubs
    message = messages.PredictionsRequest(input={"data": zoo.CAT.read_bytes()}, **names)
    with pytest.raises(grpc.RpcError) as raised:
        services.InferenceAPIsServiceStub(channel).Predictions(message, timeout=20)
    assert raised.value.code() == grpc.StatusCode.NOT_FOUND
    version = client.get("/v2/models/catsdogs").json()["versions"][0]
    assert raised.value.details() == (
        f"There is no such model or version: this server has model catsdogs, version {version}."
    )


def test_a_call_without_a_model_is_told_so(channel: grpc.Channel, stubs: Any) -> None:
    messages, services = stubs
    with pytest.raises(grpc.RpcError) as raised:
        services.InferenceAPIsServiceStub(channel).Predictions(request(messages, b"x", model=""), timeout=20)
    assert raised.value.code() == grpc.StatusCode.INVALID_ARGUMENT


def test_a_version_may_be_named(channel: grpc.Channel, stubs: Any, client: httpx.Client) -> None:
    messages, services = stubs
    version = client.get("/v2/models/catsdogs").json()["versions"][0]
    message = request(messages, zoo.CAT.read_bytes())
    message.model_version = version
    answer = services.InferenceAPIsServiceStub(channel).Predictions(message, timeout=20)
    assert json.loads(answer.prediction)["model"]["version"] == version


def test_a_full_queue_is_unavailable_and_what_is_in_it_is_answered(archive: Path, stubs: Any) -> None:
    messages, services = stubs
    with start(archive, workers=1) as server:
        (worker,) = live_workers(server.run / "heartbeats", time.time())
        with grpc.insecure_channel(f"127.0.0.1:{server.options.ports.grpc}", LARGE) as channel:
            service = services.InferenceAPIsServiceStub(channel)
            # Stopped, the worker holds one batch at most, and the queue all that it can.
            os.kill(worker, signal.SIGSTOP)
            try:
                message = request(messages, zoo.CAT.read_bytes())
                calls = [service.Predictions.future(message, timeout=60) for _ in range(QUEUE + 20)]
                wait_for(lambda: sum(call.done() for call in calls) >= 12, 10, "calls are refused")
            finally:
                os.kill(worker, signal.SIGCONT)
            codes = Counter(call.code() for call in calls)
            details = {call.details() for call in calls if call.code() == grpc.StatusCode.UNAVAILABLE}
    assert set(codes) == {grpc.StatusCode.OK, grpc.StatusCode.UNAVAILABLE}
    assert codes[grpc.StatusCode.UNAVAILABLE] >= 12
    assert codes[grpc.StatusCode.OK] >= QUEUE - 1
    assert details <= {
        "The queue is full: try again in a second.",
        "The server has as many requests as it can hold: try again in a second.",
    }


def test_a_killed_worker_takes_only_its_own_batch_and_says_so_in_our_words(archive: Path, stubs: Any) -> None:
    messages, services = stubs
    with start(archive, workers=1) as server:
        (worker,) = live_workers(server.run / "heartbeats", time.time())
        with grpc.insecure_channel(f"127.0.0.1:{server.options.ports.grpc}", LARGE) as channel:
            service = services.InferenceAPIsServiceStub(channel)
            # Stopped, it holds the first batch that it is given, and all the others wait.
            os.kill(worker, signal.SIGSTOP)
            calls = [service.Predictions.future(request(messages, zoo.CAT.read_bytes()), timeout=60) for _ in range(24)]
            wait_for(lambda: in_flight(server, "grpc") == 24, 30, "24 calls in flight")
            time.sleep(2)  # in flight at the gateway; when TorchServe has handed a batch on, nobody can see
            os.kill(worker, signal.SIGKILL)
            statuses = Counter((call.code(), call.details()) for call in calls)
    died = (grpc.StatusCode.UNAVAILABLE, "The worker that had this picture ended: try again in a second.")
    assert set(statuses) == {(grpc.StatusCode.OK, ""), died}
    assert 1 <= statuses[died] <= 8, "a batch has one to eight"


@pytest.mark.parametrize(
    "method",
    [
        f"/{SERVICE}/StreamPredictions",
        f"/{SERVICE}/StreamPredictions2",
        "/org.pytorch.serve.grpc.management.ManagementAPIsService/ListModels",
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    ],
)
def test_every_other_method_is_unimplemented_and_harms_nobody(
    channel: grpc.Channel, stubs: Any, client: httpx.Client, method: str
) -> None:
    messages, _ = stubs
    call = channel.unary_stream(method, request_serializer=lambda m: m.SerializeToString())
    for _ in range(5):
        with pytest.raises(grpc.RpcError) as raised:
            list(call(request(messages, zoo.CAT.read_bytes()), timeout=20))
        assert raised.value.code() == grpc.StatusCode.UNIMPLEMENTED
    assert client.post("/predictions/catsdogs", content=zoo.CAT.read_bytes()).status_code == 200


@pytest.mark.parametrize("compression", [grpc.Compression.Gzip, grpc.Compression.Deflate])
def test_a_compressed_message_is_refused_and_never_decompressed(
    channel: grpc.Channel, stubs: Any, compression: grpc.Compression
) -> None:
    messages, services = stubs
    service = services.InferenceAPIsServiceStub(channel)
    with pytest.raises(grpc.RpcError) as raised:
        service.Predictions(request(messages, bytes(15 << 20)), timeout=20, compression=compression)
    assert raised.value.code() == grpc.StatusCode.UNIMPLEMENTED
    assert "identity" in raised.value.details()


@pytest.mark.parametrize("entries", [65, 500_000])
def test_a_message_of_many_entries_is_refused_before_it_is_read(
    channel: grpc.Channel, stubs: Any, entries: int
) -> None:
    raw = channel.unary_unary(f"/{SERVICE}/Predictions")
    entry = field(3, field(1, b"a") + field(2, b"b"))
    with pytest.raises(grpc.RpcError) as raised:
        raw(field(1, b"catsdogs") + entry * entries, timeout=20)
    assert raised.value.code() == grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize(
    ("message", "answered"),
    [
        (field(1, b"catsdogs") + field(3, field(1, b"data") + field(2, zoo.CAT.read_bytes())), True),
        (field(3, field(2, zoo.CAT.read_bytes()) + field(1, b"body")) + field(1, b"catsdogs"), True),
        (
            field(1, b"catsdogs")
            + field(3, field(1, b"data") + field(2, zoo.CAT.read_bytes()))
            + field(3, field(1, b"top_k") + field(2, b"1")),
            True,
        ),
        (field(1, b"catsdogs") + b"".join(field(3, field(1, key) + field(2, b"x")) for key in (b"a", b"b")), False),
        (b"\x0a\xff", False),
        (b"\xff" * 40, False),
        (b"", False),
    ],
    ids=range(7),
)
def test_a_message_is_read_in_any_order_and_refused_where_it_is_broken(
    channel: grpc.Channel, message: bytes, answered: bool
) -> None:
    raw = channel.unary_unary(f"/{SERVICE}/Predictions")
    if answered:
        assert json.loads(read_bytes_field(raw(message, timeout=20), 1))["label"] == "cat"
        return
    with pytest.raises(grpc.RpcError) as raised:
        raw(message, timeout=20)
    assert raised.value.code() == grpc.StatusCode.INVALID_ARGUMENT


def test_a_client_that_no_longer_waits_is_told_so(channel: grpc.Channel, stubs: Any) -> None:
    messages, services = stubs
    with pytest.raises(grpc.RpcError) as raised:
        services.InferenceAPIsServiceStub(channel).Predictions(request(messages, zoo.CAT.read_bytes()), timeout=0.001)
    assert raised.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED


@pytest.mark.parametrize(
    ("service", "status"),
    [("", 1), ("org.pytorch.serve.grpc.inference.InferenceAPIsService", 1), ("inference.GRPCInferenceService", 1)],
)
def test_the_standard_health_check_is_answered(channel: grpc.Channel, service: str, status: int) -> None:
    check = channel.unary_unary("/grpc.health.v1.Health/Check")
    assert dict(read_fields(check(field(1, service.encode()) if service else b"", timeout=20))) == {1: status}


def test_the_health_of_an_unknown_service_is_not_found(channel: grpc.Channel) -> None:
    with pytest.raises(grpc.RpcError) as raised:
        channel.unary_unary("/grpc.health.v1.Health/Check")(field(1, b"other"), timeout=20)
    assert raised.value.code() == grpc.StatusCode.NOT_FOUND


def test_messages_without_end_are_refused_while_a_good_client_is_answered(server: Server, stubs: Any) -> None:
    """These ended the server before: messages of zeros that decompress to gigabytes, and of half a million entries."""
    messages, services = stubs
    bomb = request(messages, bytes(14 << 20))
    entries = field(1, b"catsdogs") + field(3, field(1, b"a") + field(2, b"b")) * 500_000
    address = f"127.0.0.1:{server.options.ports.grpc}"
    times: list[float] = []

    def attack(number: int) -> grpc.StatusCode:
        with grpc.insecure_channel(address, [*LARGE, ("grpc.use_local_subchannel_pool", 1)]) as channel:
            try:
                if number % 2:
                    channel.unary_unary(f"/{SERVICE}/Predictions")(entries, timeout=60)
                else:
                    services.InferenceAPIsServiceStub(channel).Predictions(
                        bomb, timeout=60, compression=grpc.Compression.Gzip
                    )
            except grpc.RpcError as error:
                return error.code()
        return grpc.StatusCode.OK

    with grpc.insecure_channel(address) as channel, ThreadPoolExecutor(8) as pool:
        service = services.InferenceAPIsServiceStub(channel)
        attacks = [pool.submit(attack, number) for number in range(48)]
        while not all(attempt.done() for attempt in attacks):
            started = time.monotonic()
            answer = service.Predictions(request(messages, zoo.CAT.read_bytes()), timeout=30)
            times.append(time.monotonic() - started)
            assert json.loads(answer.prediction)["label"] == "cat"
    codes = Counter(attempt.result() for attempt in attacks)
    assert set(codes) <= {
        grpc.StatusCode.UNIMPLEMENTED,
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.UNAVAILABLE,
    }
    assert codes[grpc.StatusCode.UNIMPLEMENTED] == 24
    assert max(times) < 10
    server.check_children()


def test_junk_leaves_little_in_the_log(archive: Path) -> None:
    """A thousand calls of one byte left 2.8 MB of stack traces."""
    with command(str(archive), "--workers", "1") as (child, _, port):
        with grpc.insecure_channel(f"127.0.0.1:{port}", LARGE) as channel:
            call = channel.unary_unary(f"/{SERVICE}/Predictions")
            attempts = [call.future(b"x", timeout=30) for _ in range(1000)]
            codes = Counter(attempt.code() for attempt in attempts)
        child.terminate()
        _, log = child.communicate(timeout=60)
    assert set(codes) <= {grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.UNAVAILABLE}
    assert codes[grpc.StatusCode.INVALID_ARGUMENT] > 0
    assert len(log) < 10_000
