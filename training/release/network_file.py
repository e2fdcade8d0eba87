"""The ONNX network of a release, joined with its weights into one file.

A release's model.onnx says at which offset of model.safetensors each tensor lies (ONNX's external data), so that a
release, and git, holds the weights once. ONNX Runtime reads that; MNN's converter (3.6.1) takes fp16 kernels that lie
in another file for other numbers. So what is packed is made from the network in one file. In older releases model.onnx
is that file.

This reads protocol buffers by handler/protobuf.py: where archives of the CPU are packed, there is no package onnx.
"""

from collections.abc import Callable
from pathlib import Path

from handler.files import UserError
from handler.protobuf import encode_bytes, read_fields
from handler.release import Release, verify_file

NETWORK, WEIGHTS = "model.onnx", "model.safetensors"
# Numbers of fields, in the messages ModelProto, GraphProto, TensorProto and StringStringEntryProto.
GRAPH, INITIALIZER = 7, 5
RAW_DATA, EXTERNAL_DATA, DATA_LOCATION = 9, 13, 14
KEY, VALUE = 1, 2


def read_network(release: Path, facts: Release) -> bytes:
    """Return the network of a release, verified, in one file.

    Raises:
        UserError: a file is missing or is not the one of the release, or the network refers to what is not there.
    """
    verify_file(release, NETWORK, facts.files.get(NETWORK, "not listed"))
    network = (release / NETWORK).read_bytes()
    if WEIGHTS.encode() not in network:
        return network
    verify_file(release, WEIGHTS, facts.weights_sha256)
    try:
        return join(network, memoryview((release / WEIGHTS).read_bytes()))
    except (ValueError, KeyError, IndexError) as error:
        raise UserError(f"{release / NETWORK} does not go with {WEIGHTS}: export the release again.") from error


def join(network: bytes, weights: memoryview) -> bytes:
    """Return an ONNX model whose tensors hold the weights that they referred to.

    Raises:
        ValueError, KeyError, IndexError: it is broken, or refers to what is not there.
    """
    return _with_parts(memoryview(network), GRAPH, lambda graph: _joined_graph(graph, weights))


def _joined_graph(graph: memoryview, weights: memoryview) -> bytes:
    return _with_parts(graph, INITIALIZER, lambda tensor: _joined_tensor(tensor, weights))


def _joined_tensor(tensor: memoryview, weights: memoryview) -> bytes:
    fields = list(read_fields(tensor))
    reference = dict(_entry(value) for number, _, value in fields if number == EXTERNAL_DATA)
    if not reference:
        return bytes(tensor)
    start, length = int(reference["offset"]), int(reference["length"])
    if reference["location"] != WEIGHTS or start < 0 or length < 0 or start + length > len(weights):
        raise ValueError("a tensor lies outside of the weights")
    kept = [(number, whole) for number, whole, _ in fields if number not in (EXTERNAL_DATA, DATA_LOCATION)]
    # In the order of their numbers, as protocol buffers are written: so the bytes are those of a model saved whole.
    before = [whole for number, whole in kept if number < RAW_DATA]
    after = [whole for number, whole in kept if number > RAW_DATA]
    return b"".join([*before, encode_bytes(RAW_DATA, weights[start : start + length]), *after])


def _entry(message: memoryview) -> tuple[str, str]:
    values = {number: bytes(value).decode() for number, _, value in read_fields(message)}
    return values[KEY], values[VALUE]


def _with_parts(message: memoryview, number: int, change: Callable[[memoryview], bytes]) -> bytes:
    """Return a message in which every field of one number is changed."""
    return b"".join(
        encode_bytes(number, change(value)) if field == number else whole
        for field, whole, value in read_fields(message)
    )
