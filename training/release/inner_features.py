"""The network's inner features over the reference pictures, and their principal components (handler/components.py)."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from handler.components import Components, Inner
from handler.preprocess import Pixels
from handler.runtimes.runtime import Logits

if TYPE_CHECKING:
    from onnx import GraphProto, NodeProto

# Later ones show how the val pictures were prepared: with eight, ordinary photographs differ from those of the shipped
# release, which were squeezed and are enlarged (tests/monitoring/components.py).
COMPONENTS = 4
LOGITS, IMAGE = "logits", "image"


class InnerFeatures:
    """A release's network, by ONNX Runtime, which collects the inner features of all pictures that it answers."""

    def __init__(self, network: Path, tensor: str) -> None:
        import onnx
        import onnxruntime

        self.tensor = tensor
        model = onnx.load(network)
        model.graph.output.append(onnx.helper.make_tensor_value_info(tensor, onnx.TensorProto.FLOAT, None))
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        self._batches: list[Inner] = []

    def logits(self, pixels: Pixels) -> Logits:
        """Return the logits of pixels, and keep their inner features."""
        logits, inner = self._session.run([LOGITS, self.tensor], {IMAGE: np.ascontiguousarray(pixels)})
        self._batches.append(np.asarray(inner, dtype=np.float32).reshape(len(pixels), -1))
        return np.asarray(logits, dtype=np.float32)

    def collected(self) -> Inner:
        """Return the inner features of all pictures so far, (pictures, features)."""
        return np.concatenate(self._batches)


def find_inner(network: Path) -> InnerFeatures | None:
    """Return the network with the input of its last layer; None where it does not end in a linear layer."""
    import onnx

    tensor = last_input(onnx.load(network, load_external_data=False).graph)
    return None if tensor is None else InnerFeatures(network, tensor)


def last_input(graph: "GraphProto") -> str | None:
    """Return the name of the tensor that the linear layer takes which makes the logits."""
    makers = {output: node for node in graph.node for output in node.output}
    weights = {tensor.name for tensor in graph.initializer}
    layer = _linear(makers, LOGITS)
    if layer is None or layer.input[0] not in makers or layer.input[0] in weights:
        return None
    return str(layer.input[0])


def _linear(makers: "dict[str, NodeProto]", name: str) -> "NodeProto | None":
    node = makers.get(name)
    if node is not None and node.op_type == "Add":
        # A bias that is added to a product.
        products = [makers[each] for each in node.input if each in makers and makers[each].op_type == "MatMul"]
        node = products[0] if len(products) == 1 else None
    return node if node is not None and node.op_type in ("Gemm", "MatMul") else None


def principal_components(inner: Inner, count: int = COMPONENTS) -> Components:
    """Return the mean of inner features and their first principal axes, each with its largest entry positive.

    They are rounded, so that the last bits of another processor's arithmetic hardly make another file.
    """
    exact = inner.astype(np.float64)
    mean = exact.mean(axis=0)
    axes = np.linalg.svd(exact - mean, full_matrices=False)[2][:count]
    largest = axes[np.arange(len(axes)), np.abs(axes).argmax(axis=1)]
    axes *= np.sign(largest)[:, None]
    return Components(mean.round(6).astype(np.float32), axes.round(6).astype(np.float32))
