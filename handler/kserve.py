"""KServe's two JSON protocols: pictures in base64 in, answers in the same order out.

v1: https://kserve.github.io/website/latest/modelserving/data_plane/v1_protocol/
v2 (Open Inference Protocol): https://github.com/kserve/open-inference-protocol
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, TypeGuard

from handler.base64_text import from_base64
from handler.problem import Problem
from handler.release import Release

# A request's instances go through the network in the worker's one thread, so they keep others waiting.
MAX_INSTANCES = 32
# Commas and brackets of a request's JSON; 32 instances have some hundreds. Sixteen MiB of `{},` would become 400 MB.
MAX_PARTS = 10_000
# A tensor of pictures has one dimension, or a few of one; the product of a million would take minutes.
MAX_RANK = 4
# It comes back in the answer, which TorchServe takes from a worker up to a size only.
MAX_ID = 256
# Where an instance may keep its picture, besides being it.
KEYS = ("b64", "data", "image", "image_bytes")
INPUT = "image"
OUTPUTS = ("label", "probability", "probabilities")
BINARY = b"binary_data_size"
V1_SHAPE = '{"instances": [{"b64": "..."}]}'
V2_SHAPE = '{"inputs": [{"name": "image", "datatype": "BYTES", "shape": [1], "data": ["..."]}]}'


def read_v1(body: bytes) -> list[bytes]:
    """The pictures of `{"instances": [...]}`, each base64 text or an object that holds it.

    Raises:
        Problem: 400 bad_json.
    """
    instances = _object(body, V1_SHAPE).get("instances")
    if not isinstance(instances, list):
        raise _wrong(f"It must look like {V1_SHAPE}, with the picture in base64.")
    _check_count(instances)
    return [_decoded(_text(instance, number), number) for number, instance in enumerate(instances)]


@dataclass(frozen=True, slots=True)
class Asked:
    """A request of v2."""

    pictures: list[bytes]
    id: str | None = None
    outputs: tuple[str, ...] = OUTPUTS
    """Names, in the order in which they are answered."""


def read_v2(body: bytes) -> Asked:
    """The pictures of the one input of datatype BYTES, each base64 text, the request's own id and what it wants.

    Raises:
        Problem: 400 bad_json.
    """
    document = _object(body, V2_SHAPE)
    inputs, name = document.get("inputs"), document.get("id")
    if not isinstance(inputs, list) or len(inputs) != 1 or not isinstance(inputs[0], dict):
        raise _wrong(f"It must have one input and look like {V2_SHAPE}, with the picture in base64.")
    if name is not None and not (isinstance(name, str) and len(name) <= MAX_ID):
        raise _wrong(f"Its id must be text of at most {MAX_ID} characters.")
    tensor = inputs[0]
    if tensor.get("name") != INPUT:
        raise _wrong(f'The name of its input must be "{INPUT}", as in {V2_SHAPE}.')
    parameters = tensor.get("parameters")
    if isinstance(parameters, dict) and BINARY.decode() in parameters:
        raise _binary()
    data, shape = tensor.get("data"), tensor.get("shape")
    if tensor.get("datatype") != "BYTES" or not isinstance(data, list):
        raise _wrong(f"The input must be of datatype BYTES with its data beside it, as in {V2_SHAPE}.")
    flat = _flat(data)
    _check_count(flat)
    if not _is_shape(shape) or math.prod(shape) != len(flat):
        raise _wrong(f"The input's shape must be that of its data, which has {len(flat)}.")
    outputs = _outputs(document.get("outputs"))
    return Asked([_decoded(_text(instance, number), number) for number, instance in enumerate(flat)], name, outputs)


def _outputs(wanted: object) -> tuple[str, ...]:
    """All, where none is named."""
    if wanted is None or wanted == []:
        return OUTPUTS
    names = [output.get("name") for output in wanted if isinstance(output, dict)] if isinstance(wanted, list) else []
    if not isinstance(wanted, list) or len(names) != len(wanted) or any(name not in OUTPUTS for name in names):
        raise _wrong(f'Its outputs must be a list of {{"name": ...}}, and each name one of {", ".join(OUTPUTS)}.')
    return tuple(dict.fromkeys(str(name) for name in names))


def write_v1(answers: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return {"predictions": list(answers)}


def write_v2(answers: Sequence[dict[str, Any]], request: Asked, release: Release) -> dict[str, Any]:
    """Labels, their probabilities, and those of all classes in the order of the metadata, as far as they are wanted."""
    count, rows = (
        len(answers),
        [[answer["probabilities"].get(label, 0.0) for label in release.classes] for answer in answers],
    )
    outputs = {
        "label": _tensor("label", "BYTES", [count], [answer["label"] for answer in answers]),
        "probability": _tensor("probability", "FP32", [count], [answer["probability"] for answer in answers]),
        "probabilities": {
            **_tensor("probabilities", "FP32", [count, len(release.classes)], list(chain.from_iterable(rows))),
            "parameters": {"classes": ",".join(release.classes)},
        },
    }
    # A list: the gateway makes one text of it, for parameters are text or numbers.
    claims = [answer["feedback"] for answer in answers if "feedback" in answer]
    flags = [str(answer["unsure"]).lower() for answer in answers if "unsure" in answer]
    unsure = {"unsure": ",".join(flags)} if flags else {}
    if flags and (conditions := answers[0].get("uncalibrated_if")):
        unsure["uncalibrated_if"] = ",".join(conditions)
    return {
        "model_name": release.name,
        "model_version": release.version,
        **({"id": request.id} if request.id is not None else {}),
        "parameters": {"sha256": release.weights_sha256, **unsure, **({"feedback": claims} if claims else {})},
        "outputs": [outputs[name] for name in request.outputs],
    }


def _tensor(name: str, datatype: str, shape: list[int], data: list[Any]) -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": shape, "data": data}


def _object(body: bytes, shape: str) -> dict[str, Any]:
    if sum(map(body.count, b",[{")) > MAX_PARTS:
        raise _wrong(f"It has too many parts; it must look like {shape}.")
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as error:
        if BINARY in body[:100_000]:
            raise _binary() from error
        raise _wrong(f"It is not JSON; it must look like {shape}.") from error
    if not isinstance(document, dict):
        raise _wrong(f"It is no JSON object; it must look like {shape}.")
    return document


def _flat(data: list[Any]) -> list[Any]:
    """Row-major: a tensor's data may be nested as its shape is."""
    flat = [item for part in data for item in (part if isinstance(part, list) else [part])]
    if any(isinstance(item, list) for item in flat):
        raise _wrong("The input's data is nested deeper than pictures are.")
    return flat


def _is_shape(shape: object) -> TypeGuard[list[int]]:
    return (
        isinstance(shape, list)
        and len(shape) <= MAX_RANK
        and all(type(side) is int and 0 < side <= MAX_INSTANCES for side in shape)
    )


def _check_count(instances: Sequence[object]) -> None:
    if not instances:
        raise _wrong("It has no instance: send one picture at least.")
    if len(instances) > MAX_INSTANCES:
        raise _wrong(f"It has {len(instances)} instances; at most {MAX_INSTANCES} are taken at once.")


def _text(instance: object, number: int) -> str:
    for _ in KEYS[:2]:  # {"image": {"b64": "..."}} is as deep as clients nest it
        if isinstance(instance, dict):
            values = [instance[key] for key in KEYS if key in instance]
            instance = values[0] if len(values) == 1 else None
    if not isinstance(instance, str):
        raise _wrong(f'Instance {number} holds no picture: send it as base64, for example {{"b64": "..."}}.')
    return instance


def _decoded(text: str, number: int) -> bytes:
    picture = from_base64(text)
    if picture is None:
        raise _wrong(f"Instance {number} is not base64.")
    return picture


def _binary() -> Problem:
    return _wrong(f"Binary tensors are not read here: send the picture in base64, as in {V2_SHAPE}.")


def _wrong(detail: str) -> Problem:
    return Problem(400, "bad_json", f"The body cannot be used. {detail}")
