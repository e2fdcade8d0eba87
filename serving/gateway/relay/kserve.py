"""KServe's Open Inference Protocol over gRPC (GRPCInferenceService), for pictures.

Each picture is asked for by REST, so a call of several is as many requests; the answer has three tensors, as over REST.
Source: https://github.com/kserve/open-inference-protocol/blob/main/specification/protocol/open_inference_grpc.proto
"""

import json
import struct
import time
from typing import Any

from handler.problem import Problem
from serving.gateway.relay import problems
from serving.gateway.relay.body import Body
from serving.gateway.relay.grpc import Call, Method, checked, model_path, text_field
from serving.gateway.relay.upstream import Answer
from serving.wire import WireError, field, number_field, read_all, varint

SERVICE = "/inference.GRPCInferenceService/"
INPUT = "image"
OUTPUTS = ("label", "probability", "probabilities")
MAX_PICTURES = 32
MAX_ID = 256
TRUE = 1


async def server_live(call: Call) -> bytes:
    return number_field(1, TRUE)


async def server_ready(call: Call) -> bytes:
    return number_field(1, TRUE) if await call.health.is_ready() else b""


async def model_ready(call: Call) -> bytes:
    known(call, *names(call.message))
    return number_field(1, TRUE) if await call.health.is_ready() else b""


async def server_metadata(call: Call) -> bytes:
    return field(1, b"catsdogs") + field(2, str(call.torchserve.model.facts().get("server", "")).encode())


async def model_metadata(call: Call) -> bytes:
    """Answer ModelMetadata; -1 stands for any number of pictures."""
    facts = known(call, *names(call.message))
    tensors = [
        (4, INPUT, b"BYTES", [-1]),
        (5, "label", b"BYTES", [-1]),
        (5, "probability", b"FP32", [-1]),
        (5, "probabilities", b"FP32", [-1, len(facts["classes"])]),
    ]
    described = [
        field(number, field(1, name.encode()) + field(2, datatype) + field(3, shape(sides)))
        for number, name, datatype, sides in tensors
    ]
    head = field(1, facts["name"].encode()) + field(2, facts["version"].encode()) + field(3, b"torchserve_mar")
    return head + b"".join(described)


async def model_infer(call: Call) -> bytes:
    """Answer ModelInfer: one input of datatype BYTES, with a picture in each element."""
    message = call.message
    facts = known(call, *names(message))
    name = text_field(message, 3)
    if len(name) > MAX_ID:
        raise refused(f"The id has more than {MAX_ID} characters.")
    # Once each, however often one is asked for.
    wanted = list(dict.fromkeys(text_field(output, 1) for output in read_all(message, 6))) or list(OUTPUTS)
    if unknown := [output for output in wanted if output not in OUTPUTS]:
        raise refused(f"There is no output {unknown[0][:64]!r}; there are {', '.join(OUTPUTS)}.")
    pictures = pictures_of(read_all(message, 5), read_all(message, 7))
    # Of every class, whatever their number: a tensor has a column for each.
    headers = {**call.headers, "x-top-k": str(len(facts["classes"]))}
    path = model_path(call.torchserve.model, *names(message))
    answers = []
    for number, picture in enumerate(pictures):
        if call.gone():
            raise problems.incomplete()
        if call.deadline is not None:
            left = int(1000 * (call.deadline - time.monotonic()))
            if left <= 0:
                raise problems.late()
            headers["X-Timeout-Ms"] = str(left)
        answer = await call.torchserve.predict(path, Body([picture], len(picture)), headers)
        if answer.is_problem and len(pictures) > 1:
            raise of_instance(number, answer)
        answers.append(json.loads(checked(answer)))
    return response(answers, facts, name, wanted)


def names(message: memoryview) -> tuple[str, str]:
    return text_field(message, 1), text_field(message, 2)


def known(call: Call, model: str, version: str) -> dict[str, Any]:
    """The facts of the model, which must be the one that is served.

    Raises:
        Problem: 404, it is another model or version.
    """
    model_path(call.torchserve.model, model, version)
    facts = call.torchserve.model.facts()
    if version and version != facts["version"]:
        raise problems.unknown_model(facts)
    return facts


def pictures_of(inputs: list[memoryview], raw: list[memoryview]) -> list[memoryview]:
    """The pictures of the one input, in `contents` or in `raw_input_contents`.

    Raises:
        Problem: 400, there is no such input.
    """
    if len(inputs) != 1:
        raise refused(f"The call must have one input, named {INPUT!r}; it has {len(inputs)}.")
    given, datatype, contents = text_field(inputs[0], 1), text_field(inputs[0], 2), read_all(inputs[0], 5)
    if given != INPUT:
        raise refused(f"The input must be named {INPUT!r}, not {given[:64]!r}.")
    if datatype != "BYTES":
        raise refused(f"The input must be of datatype BYTES, with a picture in each element, not {datatype[:64]!r}.")
    if raw and contents:
        raise refused("The pictures must be in contents or in raw_input_contents, not in both.")
    if len(raw) > 1:
        raise refused("raw_input_contents must have one entry, for the one input.")
    pictures = raw_elements(raw[0]) if raw else bytes_contents(contents)
    if not 0 < len(pictures) <= MAX_PICTURES:
        raise refused(f"A call must have 1 to {MAX_PICTURES} pictures; this has {len(pictures)}.")
    return pictures


def bytes_contents(contents: list[memoryview]) -> list[memoryview]:
    """Elements of a BYTES tensor in InferTensorContents."""
    return [element for part in contents for element in read_all(part, 8, MAX_PICTURES + 1)]


def raw_elements(raw: memoryview) -> list[memoryview]:
    """Elements of a BYTES tensor: each after its length, four bytes, little-endian."""
    elements: list[memoryview] = []
    at = 0
    while at < len(raw) and len(elements) <= MAX_PICTURES:
        if at + 4 > len(raw):
            raise WireError("raw_input_contents is cut off")
        (size,) = struct.unpack_from("<I", raw, at)
        at += 4
        if at + size > len(raw):
            raise WireError("raw_input_contents is cut off")
        elements.append(raw[at : at + size])
        at += size
    return elements


def response(answers: list[dict[str, Any]], facts: dict[str, Any], name: str, wanted: list[str]) -> bytes:
    """ModelInferResponse with the outputs that are wanted, in this order."""
    count, classes = len(answers), facts["classes"]
    shares = [float(answer["probabilities"].get(label, 0.0)) for answer in answers for label in classes]
    best = [float(answer["probability"]) for answer in answers]
    labels = b"".join(field(8, str(answer["label"]).encode()) for answer in answers)
    outputs = {
        "label": (b"BYTES", [count], labels),
        "probability": (b"FP32", [count], field(6, struct.pack(f"<{count}f", *best))),
        "probabilities": (b"FP32", [count, len(classes)], field(6, struct.pack(f"<{len(shares)}f", *shares))),
    }
    head = field(1, facts["name"].encode()) + field(2, facts["version"].encode()) + field(3, name.encode())
    parameters = {
        "feedback": " ".join(answer["feedback"] for answer in answers if "feedback" in answer),
        "unsure": ",".join(str(answer["unsure"]).lower() for answer in answers if "unsure" in answer),
        "uncalibrated_if": ",".join(answers[0].get("uncalibrated_if", ())),
    }
    for key, text in parameters.items():
        if text:  # an entry of the map: its key, and an InferParameter with a string_param
            head += field(4, field(1, key.encode()) + field(2, field(3, text.encode())))
    tensors = b""
    for output in wanted:
        datatype, sides, contents = outputs[output]
        tensors += field(
            5, field(1, output.encode()) + field(2, datatype) + field(3, shape(sides)) + field(5, contents)
        )
    return head + tensors


def shape(sides: list[int]) -> bytes:
    """Packed int64; a negative number takes all 64 bits."""
    return b"".join(varint(side & (1 << 64) - 1) for side in sides)


def of_instance(number: int, answer: Answer) -> Problem:
    """Return the problem of one picture, with its number."""
    document = json.loads(answer.body)
    return Problem(int(document["status"]), str(document["code"]), f"Instance {number}: {document['detail']}")


def refused(detail: str) -> Problem:
    return Problem(400, "bad_request", detail)


METHODS: dict[str, Method] = {
    f"{SERVICE}ServerLive": server_live,
    f"{SERVICE}ServerReady": server_ready,
    f"{SERVICE}ModelReady": model_ready,
    f"{SERVICE}ServerMetadata": server_metadata,
    f"{SERVICE}ModelMetadata": model_metadata,
    f"{SERVICE}ModelInfer": model_infer,
}
