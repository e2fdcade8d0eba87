"""KServe's protocol over gRPC, by the client that its .proto file makes."""

import struct
from collections.abc import Iterator
from typing import Any

import grpc
import httpx
import pytest

from serving.server.launch import Server
from tests import zoo
from tests.e2e.support import PATH, make_stubs


@pytest.fixture(scope="module")
def kserve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Any, Any]]:
    with make_stubs(tmp_path_factory.mktemp("kserve"), "open_inference_grpc") as made:
        yield made


@pytest.fixture
def service(server: Server, kserve: tuple[Any, Any]) -> Iterator[Any]:
    with grpc.insecure_channel(f"127.0.0.1:{server.options.ports.grpc}") as channel:
        yield kserve[1].GRPCInferenceServiceStub(channel)


def ask(messages: Any, pictures: list[bytes], **changes: Any) -> Any:
    tensor = messages.ModelInferRequest.InferInputTensor(name="image", datatype="BYTES", shape=[len(pictures)])
    tensor.contents.bytes_contents.extend(pictures)
    return messages.ModelInferRequest(**{"model_name": "catsdogs", "inputs": [tensor], **changes})


def test_the_server_and_its_model_are_ready_and_described(service: Any, kserve: Any, client: httpx.Client) -> None:
    messages, _ = kserve
    assert service.ServerLive(messages.ServerLiveRequest(), timeout=20).live
    assert service.ServerReady(messages.ServerReadyRequest(), timeout=20).ready
    assert service.ModelReady(messages.ModelReadyRequest(name="catsdogs"), timeout=20).ready
    by_rest = client.get("/v2/models/catsdogs").json()
    described = service.ModelMetadata(messages.ModelMetadataRequest(name="catsdogs"), timeout=20)
    assert (described.name, list(described.versions), described.platform) == (
        *(by_rest["name"], by_rest["versions"], by_rest["platform"]),
    )
    for tensors, documents in ((described.inputs, by_rest["inputs"]), (described.outputs, by_rest["outputs"])):
        metadata = [
            {"name": tensor.name, "datatype": tensor.datatype, "shape": list(tensor.shape)} for tensor in tensors
        ]
        assert metadata == documents
    assert service.ServerMetadata(messages.ServerMetadataRequest(), timeout=20).name == "catsdogs"


@pytest.mark.parametrize("raw", [False, True])
def test_pictures_get_the_answers_that_rest_gives(service: Any, kserve: Any, client: httpx.Client, raw: bool) -> None:
    messages, _ = kserve
    pictures = [zoo.CAT.read_bytes(), zoo.DOG.read_bytes()]
    request = ask(messages, pictures, id="mine")
    if raw:
        request.inputs[0].contents.Clear()
        request.inputs[0].ClearField("contents")
        request.raw_input_contents.append(b"".join(struct.pack("<I", len(picture)) + picture for picture in pictures))
    answer = service.ModelInfer(request, timeout=30)
    by_rest = [client.post(PATH, content=picture).json() for picture in pictures]
    outputs = {output.name: output for output in answer.outputs}
    assert (answer.model_name, answer.id) == ("catsdogs", "mine")
    assert list(outputs["label"].contents.bytes_contents) == [expected["label"].encode() for expected in by_rest]
    assert list(outputs["probability"].contents.fp32_contents) == pytest.approx(
        [expected["probability"] for expected in by_rest], abs=2e-3
    )
    assert list(outputs["probabilities"].shape) == [2, 2]
    assert list(outputs["probabilities"].contents.fp32_contents) == pytest.approx(
        [share for expected in by_rest for share in expected["probabilities"].values()], abs=2e-3
    )


def test_only_the_outputs_that_are_asked_for_are_returned_and_once_each(service: Any, kserve: Any) -> None:
    messages, _ = kserve
    wanted = [messages.ModelInferRequest.InferRequestedOutputTensor(name="label")] * 40
    answer = service.ModelInfer(ask(messages, [zoo.CAT.read_bytes()], outputs=wanted), timeout=20)
    assert [output.name for output in answer.outputs] == ["label"]


@pytest.mark.parametrize(
    ("changes", "code", "detail"),
    [
        ({"model_name": "other"}, grpc.StatusCode.NOT_FOUND, "version"),
        ({"model_version": "9"}, grpc.StatusCode.NOT_FOUND, "version"),
        ({"inputs": []}, grpc.StatusCode.INVALID_ARGUMENT, "'image'"),
        ({"id": "x" * 300}, grpc.StatusCode.INVALID_ARGUMENT, "id"),
        ({"raw_input_contents": [b"\x05\0\0\0x"]}, grpc.StatusCode.INVALID_ARGUMENT, "not in both"),
    ],
)
def test_a_call_that_cannot_be_answered_says_why(
    service: Any, kserve: Any, changes: dict[str, Any], code: grpc.StatusCode, detail: str
) -> None:
    with pytest.raises(grpc.RpcError) as raised:
        service.ModelInfer(ask(kserve[0], [zoo.CAT.read_bytes()], **changes), timeout=20)
    assert raised.value.code() == code
    assert detail in raised.value.details()


def test_an_output_that_is_not_there_is_named(service: Any, kserve: Any) -> None:
    messages, _ = kserve
    wanted = [messages.ModelInferRequest.InferRequestedOutputTensor(name="boxes")]
    with pytest.raises(grpc.RpcError) as raised:
        service.ModelInfer(ask(messages, [zoo.CAT.read_bytes()], outputs=wanted), timeout=20)
    assert raised.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert "'boxes'" in raised.value.details()


@pytest.mark.parametrize("pictures", [[], [zoo.CAT.read_bytes()] * 33])
def test_a_call_has_one_to_32_pictures(service: Any, kserve: Any, pictures: list[bytes]) -> None:
    with pytest.raises(grpc.RpcError) as raised:
        service.ModelInfer(ask(kserve[0], pictures), timeout=20)
    assert raised.value.code() == grpc.StatusCode.INVALID_ARGUMENT


def test_a_bad_picture_is_named_by_its_number(service: Any, kserve: Any) -> None:
    with pytest.raises(grpc.RpcError) as raised:
        service.ModelInfer(ask(kserve[0], [zoo.CAT.read_bytes(), b"no picture"]), timeout=20)
    assert raised.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert raised.value.details().startswith("Instance 1: ")
