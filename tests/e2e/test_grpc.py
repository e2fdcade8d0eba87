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
from google.protobuf import empty_pb2

from serving.launch import Server
from serving.probe import live_workers
from serving.settings import QUEUE
from tests import zoo
from tests.e2e.support import PATH, in_flight, start, wait_for

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


@pytest.mark.parametrize("kind", zoo.refused())
def test_a_bad_picture_gets_ok_and_the_problem_that_rest_gives(
    channel: grpc.Channel, stubs: Any, client: httpx.Client, kind: str
) -> None:
    messages, services = stubs
    body, status, code = zoo.refused()[kind]
    answer = services.InferenceAPIsServiceStub(channel).Predictions(request(messages, body), timeout=20)
    by_rest = client.post(PATH, content=body).json()
    assert (by_rest["status"], by_rest["code"]) == (status, code)
    assert by_rest.pop("request_id")
    assert json.loads(answer.prediction) == by_rest


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
            answer = service.Predictions(request(messages, bodies[number]), timeout=60)
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
def test_an_unknown_model_or_version_is_not_found(channel: grpc.Channel, stubs: Any, names: dict[str, str]) -> None:
    messages, services = stubs
    message = messages.PredictionsRequest(input={"data": zoo.CAT.read_bytes()}, **names)
    with pytest.raises(grpc.RpcError) as raised:
        services.InferenceAPIsServiceStub(channel).Predictions(message, timeout=20)
    assert raised.value.code() == grpc.StatusCode.NOT_FOUND
    assert raised.value.details() == "There is no such model or version."


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
    assert details == {"The queue is full: try again in a second."}


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
            found = Counter((call.code(), call.details()) for call in calls)
    died = (grpc.StatusCode.UNAVAILABLE, "The worker that had this picture ended: try again in a second.")
    assert set(found) == {(grpc.StatusCode.OK, ""), died}
    assert 1 <= found[died] <= 8, "a batch has one to eight"


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


def test_a_streaming_call_behind_the_gateway_does_not_kill_the_worker(server: Server, stubs: Any) -> None:
    """TorchServe's own port: one such call to a handler without the end mark ends the worker and its batch."""
    messages, _ = stubs
    with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}", LARGE) as direct:
        call = direct.unary_stream(
            f"/{SERVICE}/StreamPredictions",
            request_serializer=lambda m: m.SerializeToString(),
            response_deserializer=messages.PredictionResponse.FromString,
        )
        for _ in range(3):
            (answer,) = call(request(messages, zoo.CAT.read_bytes()), timeout=20)
            assert json.loads(answer.prediction)["label"] in ("cat", "dog")
