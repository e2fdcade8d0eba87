"""The graph of an ONNX file: which node makes each tensor, and the values of those that are constants.

The file is mapped into memory, so that weights which nobody asks for are not read.
"""

import mmap
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from handler.protobuf import BYTES, encode_bytes, encode_number, read_fields, read_number, read_varint

# Numbers of fields in ONNX's messages, each after its message.
MODEL_GRAPH = 7
GRAPH_NODE, GRAPH_INITIALIZER, GRAPH_OUTPUT = 1, 5, 12
NODE_INPUT, NODE_OUTPUT, NODE_OP, NODE_ATTRIBUTE = 1, 2, 4, 5
ATTRIBUTE_NAME, ATTRIBUTE_INT, ATTRIBUTE_TENSOR = 1, 3, 5
TENSOR_DIMS, TENSOR_TYPE, TENSOR_FLOATS, TENSOR_INTS, TENSOR_NAME, TENSOR_RAW = 1, 2, 4, 5, 8, 9
VALUE_NAME, VALUE_TYPE, TYPE_TENSOR, TENSOR_ELEMENT, FLOAT = 1, 2, 1, 1, 1
# NumPy's types by the number of ONNX's.
TYPES = {1: "<f4", 2: "u1", 3: "i1", 6: "<i4", 7: "<i8", 10: "<f2", 11: "<f8"}

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Node:
    """An operation."""

    op: str
    inputs: list[str]
    outputs: list[str]
    numbers: dict[str, int]
    """Attributes that are whole numbers."""
    tensor: memoryview | None
    """The attribute of a Constant."""


class Graph:
    """The graph of an ONNX file that holds its weights.

    Raises:
        OSError, ValueError, IndexError: it cannot be read.
    """

    def __init__(self, path: Path) -> None:
        with path.open("rb") as file:
            model = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        (graph,) = [value for number, _, value in read_fields(model) if number == MODEL_GRAPH]
        self.makers: dict[str, Node] = {}
        self._tensors: dict[str, memoryview] = {}
        for number, _, value in read_fields(graph):
            if number == GRAPH_NODE:
                node = _node(value)
                self.makers |= dict.fromkeys(node.outputs, node)
            elif number == GRAPH_INITIALIZER:
                self._tensors[_text(value, TENSOR_NAME)] = value

    def constant(self, name: str) -> Array:
        """Return the value of a tensor that follows from constants alone, as weights do.

        Raises:
            ValueError: it does not, or by an operation that is not known here.
        """
        if name in self._tensors:
            return _array(self._tensors[name])
        node = self.makers.get(name)
        if node is None:
            raise ValueError(f"{name} is no constant")
        if node.op == "Constant" and node.tensor is not None:
            return _array(node.tensor)
        if node.op in ("Cast", "Identity"):
            return self.constant(node.inputs[0])
        if node.op == "Transpose":
            return self.constant(node.inputs[0]).T
        if node.op == "DequantizeLinear":
            return self._dequantized(node)
        raise ValueError(f"{name} is made by {node.op}")

    def _dequantized(self, node: Node) -> Array:
        values, scale, *zero = (self.constant(name) for name in node.inputs)
        shape = [1] * values.ndim
        if scale.size > 1:
            shape[node.numbers.get("axis", 1)] = scale.size
        shift = zero[0].astype(np.float32).reshape(shape) if zero else np.float32(0)
        return np.asarray((values.astype(np.float32) - shift) * scale.reshape(shape))


def with_output(model: bytes, name: str) -> bytes:
    """Return an ONNX model that also gives a tensor, float32, from its inside.

    A second graph in the message is merged with the first, as protocol buffers are.
    """
    tensor = encode_bytes(TYPE_TENSOR, encode_number(TENSOR_ELEMENT, FLOAT))
    value = encode_bytes(VALUE_NAME, name.encode()) + encode_bytes(VALUE_TYPE, tensor)
    return model + encode_bytes(MODEL_GRAPH, encode_bytes(GRAPH_OUTPUT, value))


def _node(message: memoryview) -> Node:
    node = Node("", [], [], {}, None)
    op, tensor = "", None
    for number, _, value in read_fields(message):
        if number in (NODE_INPUT, NODE_OUTPUT):
            (node.inputs if number == NODE_INPUT else node.outputs).append(bytes(value).decode())
        elif number == NODE_OP:
            op = bytes(value).decode()
        elif number == NODE_ATTRIBUTE:
            for field, whole, part in read_fields(value):
                if field == ATTRIBUTE_INT:
                    node.numbers[_text(value, ATTRIBUTE_NAME)] = read_number(whole)
                elif field == ATTRIBUTE_TENSOR:
                    tensor = part
    return Node(op, node.inputs, node.outputs, node.numbers, tensor)


def _array(message: memoryview) -> Array:
    dims: list[int] = []
    kind, parts = 0, dict[int, memoryview]()
    for number, whole, value in read_fields(message):
        if number == TENSOR_DIMS:
            dims += _packed(value) if whole[0] & 7 == BYTES else [read_number(whole)]
        elif number == TENSOR_TYPE:
            kind = read_number(whole)
        elif number in (TENSOR_FLOATS, TENSOR_INTS, TENSOR_RAW):
            parts[number] = value
    if kind not in TYPES:
        raise ValueError(f"a tensor is of type {kind}")
    if TENSOR_RAW in parts:
        return np.frombuffer(parts[TENSOR_RAW], TYPES[kind]).reshape(dims)
    if TENSOR_FLOATS in parts:
        return np.frombuffer(parts[TENSOR_FLOATS], "<f4").reshape(dims)
    if TENSOR_INTS in parts:
        return np.array(_packed(parts[TENSOR_INTS]), TYPES[kind]).reshape(dims)
    raise ValueError("a tensor lies in another file")


def _packed(value: memoryview) -> list[int]:
    numbers, at = [], 0
    while at < len(value):
        number, at = read_varint(value, at)
        numbers.append(number - (1 << 64) if number >> 63 else number)
    return numbers


def _text(message: memoryview, wanted: int) -> str:
    """Return the text in a field of a message, empty where it is missing."""
    return next((bytes(value).decode() for number, _, value in read_fields(message) if number == wanted), "")
