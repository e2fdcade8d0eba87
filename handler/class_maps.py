"""Class activation maps: where in a picture the network saw a class (Zhou et al., arXiv 1512.04150).

A network that pools its last feature maps and ends in a linear layer computes the logit of class c as
bias_c + mean over x, y of M_c(x, y), where M_c(x, y) = sum over k of weight_ck * feature_k(x, y). M_c is the map.
So it is exact: its mean is the logit less the bias, and nothing was left out. An int8 network rounds between the map
and the logit, and limits what it rounds.

The maps come from a second form of the network, which also gives its last feature maps. It is loaded when a map is
asked for, and let go: predictions are computed by the same network as without it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from handler.onnx_graph import Array, Graph, Node
from handler.preprocess import Pixels
from handler.runtimes.choice import Choice, available
from handler.runtimes.onnx_files import FP32_FILE, INT8_FILE
from handler.runtimes.runtime import FP32, INT8

# The lowest and the highest value.
Limits = tuple[float, float]

LOGITS = "logits"
POOLS = ("ReduceMean", "GlobalAveragePool")
# Operations that give on what they take, in another form. torch's pooling to one pixel is exported with a Gather, which
# could also do otherwise: then the maps do not add up to the logits.
PASSED = (
    *("Identity", "Flatten", "Reshape", "Squeeze", "Gather", "Dropout", "Cast"),
    *("QuantizeLinear", "DequantizeLinear"),
)
# How far a map may be from the logit that it makes up, relative to the largest logit. int8 rounds between them.
TOLERANCE = {FP32: 1e-3, INT8: 0.1}


@dataclass(frozen=True, slots=True)
class ClassMap:
    """Where in a picture the network saw a class."""

    values: npt.NDArray[np.float32]
    """(rows, columns): what each part of the picture adds to the logit, positive where it speaks for the class."""
    bias: float

    @property
    def logit(self) -> float:
        """The logit of the class: in int8, before the network limits it to the range of its bytes."""
        return float(self.values.mean()) + self.bias


class NoMaps(Exception):
    """The network has no class activation maps; the message says why, as part of a sentence."""


@dataclass(frozen=True, slots=True)
class Head:
    """The end of a network: pooling, and a linear layer."""

    tensor: str
    """Name of the last feature maps."""
    channels_last: bool
    weights: Array
    """(classes, channels)."""
    bias: Array
    pooled_limits: Limits
    """Between which the pooled features lie: an int8 network cuts off what is beyond."""
    logit_limits: Limits
    """The same of the logits."""

    def logits(self, pooled: Array) -> Array:
        """Return the logits that the network computes from pooled features, but for rounding."""
        return (pooled.clip(*self.pooled_limits) @ self.weights.T + self.bias).clip(*self.logit_limits)


def find_head(graph: Graph) -> Head:
    """Return the end of a network.

    Raises:
        NoMaps: it does not end in global average pooling and a linear layer.
    """
    try:
        features, weights, bias = _linear(graph)
        pool, pooled_limits = _maker(graph, features)
        _, logit_limits = _maker(graph, LOGITS)
        if pool is None or pool.op not in POOLS:
            raise ValueError("it does not pool its last feature maps")
        axes = graph.constant(pool.inputs[1]).tolist() if pool.op == "ReduceMean" and len(pool.inputs) > 1 else [2, 3]
    except (ValueError, IndexError) as error:
        raise NoMaps("its network does not end in global average pooling and a linear layer") from error
    channels_last = sorted(axis % 4 for axis in axes) == [1, 2]
    weights, bias = weights.astype(np.float32), bias.astype(np.float32)
    return Head(pool.inputs[0], channels_last, weights, bias, pooled_limits, logit_limits)


def _linear(graph: Graph) -> tuple[str, Array, Array]:
    """Return the tensor that the last linear layer takes, its weights and its bias.

    Raises:
        ValueError, IndexError: there is no such layer.
    """
    node, _ = _maker(graph, LOGITS)
    if node is not None and node.op == "Gemm":
        weights = graph.constant(node.inputs[1])
        weights = weights if node.numbers.get("transB") else weights.T
        bias = graph.constant(node.inputs[2]) if len(node.inputs) > 2 else np.zeros(len(weights), np.float32)
        return node.inputs[0], weights, bias
    if node is not None and node.op == "Add":
        for product, other in (node.inputs, node.inputs[::-1]):
            made, _ = _maker(graph, product)
            if made is not None and made.op == "MatMul":
                return made.inputs[0], graph.constant(made.inputs[1]).T, graph.constant(other)
    raise ValueError("it does not end in a linear layer")


def _maker(graph: Graph, name: str) -> tuple[Node | None, Limits]:
    """Return the operation that makes a tensor, behind those that only give it on, and the limits that they set.

    Raises:
        ValueError, IndexError: a limit is no constant.
    """
    node, low, high = graph.makers.get(name), -math.inf, math.inf
    while node is not None and node.op in PASSED:
        if node.op == "QuantizeLinear":
            scale, zero = (graph.constant(each) for each in node.inputs[1:3])
            kind, step, shift = np.iinfo(zero.dtype), float(scale.item()), int(zero.item())
            low, high = max(low, (kind.min - shift) * step), min(high, (kind.max - shift) * step)
        node = graph.makers.get(node.inputs[0])
    return node, (low, high)


class ClassMaps:
    """The network of a folder, in a form that gives class activation maps.

    Args:
        chosen: what computes the predictions. Where it does not read ONNX, another runtime of the precision is taken.
        threads: of one call.

    Raises:
        NoMaps: the network has none, or nothing here computes them.
    """

    def __init__(self, folder: Path, chosen: Choice, threads: int) -> None:
        choice = _reader(folder, chosen)
        path = folder / choice.model.name
        self.head = find_head(Graph(path))
        self.precision = choice.precision
        assert choice.runtime.load_inner is not None
        self.network = choice.runtime.load_inner(path, choice.precision, threads, None, self.head.tensor)

    def of(self, pixels: Pixels, classes: Sequence[int]) -> list[ClassMap]:
        """Return the map of a class for each picture.

        Args:
            pixels: uint8 (n, size, size, 3).
            classes: index of the class of each of the n pictures.

        Raises:
            NoMaps: the maps do not add up to the logits, so that the network is not what it looked like.
        """
        logits, inner = self.network.logits_and_inner(pixels)
        channels = self.head.weights.shape[1]
        side = math.isqrt(inner.shape[1] // channels)
        if side * side * channels != inner.shape[1]:
            raise NoMaps("its last feature maps are not square")
        if self.head.channels_last:
            features = inner.reshape(len(pixels), side, side, channels)
        else:
            features = inner.reshape(len(pixels), channels, side, side).transpose(0, 2, 3, 1)
        apart = float(np.abs(self.head.logits(features.mean(axis=(1, 2))) - logits).max())
        # `not <=` also refuses NaN.
        if not apart <= TOLERANCE[self.precision] * max(1.0, float(np.abs(logits).max())):
            raise NoMaps(f"its class activation maps do not add up to its logits: they are {apart:.3g} apart")
        return [
            ClassMap(np.asarray(features[row] @ self.head.weights[index]), float(self.head.bias[index]))
            for row, index in enumerate(classes)
        ]


def _reader(folder: Path, chosen: Choice) -> Choice:
    """Return the runtime that computes the maps: one that reads the ONNX file, which has the weights."""
    choices = [chosen, *available(folder, chosen.precision)]
    for choice in choices:
        if choice.model.name in (FP32_FILE, INT8_FILE) and choice.runtime.load_inner is not None:
            return choice
    raise NoMaps(f"{chosen.runtime.title} does not compute them, and nothing else here can")
