"""A network as ONNX: bytes in, logits out, kernels stored as fp16."""

import copy
import json
import struct
import warnings

import numpy as np
import onnx
import onnxscript.optimizer
import torch
from onnx import numpy_helper

from handler.files import UserError
from training.learning.model import Classifier
from training.release.network_file import WEIGHTS

OPSET = 20
# Smaller tensors stay in the network: shapes, norms of narrow layers.
LEAST_BYTES = 1024


class GlobalMean(torch.nn.Module):
    """(n, channels, height, width) -> (n, channels), or (n, channels, 1, 1): adaptive pooling to one pixel."""

    def __init__(self, keepdim: bool) -> None:
        super().__init__()
        self.keepdim = keepdim

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.mean((2, 3), keepdim=self.keepdim)


def replace_pools(network: torch.nn.Module, top: bool = True) -> None:
    """Puts GlobalMean in the place of every AdaptiveAvgPool2d(1), which would export as twenty nodes.

    A network's own pool is followed by flatten, which leaves (n, channels) as it is and needs no node then; a pool
    deeper inside may be followed by a convolution.
    """
    for name, module in network.named_children():
        if isinstance(module, torch.nn.AdaptiveAvgPool2d) and module.output_size in (1, (1, 1), [1, 1]):
            setattr(network, name, GlobalMean(keepdim=not top))
        else:
            replace_pools(module, top=False)


def to_onnx(model: Classifier, size: int) -> onnx.ModelProto:
    """`image` uint8 (n, size, size, 3) -> `logits` float32 (n, classes), dynamic n.

    Raises:
        UserError: the network has an operation that ONNX has not.
    """
    model = copy.deepcopy(model)
    replace_pools(model.backbone)
    example = torch.zeros((2, size, size, 3), dtype=torch.uint8)
    batch = torch.export.Dim("n", min=1, max=1024)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter deprecates parts of itself
        try:
            program = torch.onnx.export(
                model,
                (example,),
                input_names=["image"],
                output_names=["logits"],
                dynamic_shapes=({0: batch},),
                opset_version=OPSET,
                dynamo=True,
                optimize=False,
                verbose=False,
            )
        except torch.onnx.OnnxExporterError as error:
            reason = str(error.__cause__ or error).strip().splitlines()[0]
            raise UserError(f"The network cannot be exported to ONNX: {reason}") from error
    assert program is not None
    # Not the exporter's own optimizer: it folds norms into kernels, which fp16 then no longer holds exactly.
    onnxscript.optimizer.fold_constants(program.model, onnx_shape_inference=True)
    onnxscript.optimizer.remove_unused_nodes(program.model)
    proto: onnx.ModelProto = program.model_proto
    return store_as_fp16(proto)


def store_as_fp16(proto: onnx.ModelProto) -> onnx.ModelProto:
    """Every kernel that fp16 holds exactly is stored so, behind a Cast that runtimes fold when they load."""
    result = copy.deepcopy(proto)
    casts = []
    for initializer in result.graph.initializer:
        values = numpy_helper.to_array(initializer)
        with np.errstate(over="ignore"):  # what is too large for fp16 is not held exactly
            halves = values.astype(np.float16)
        if values.dtype != np.float32 or values.ndim < 2 or not np.array_equal(halves, values):
            continue
        name = initializer.name
        initializer.CopyFrom(numpy_helper.from_array(halves, f"{name}.fp16"))
        casts.append(onnx.helper.make_node("Cast", [f"{name}.fp16"], [name], to=onnx.TensorProto.FLOAT))
    for cast in reversed(casts):
        result.graph.node.insert(0, cast)
    del result.metadata_props[:]
    for node in result.graph.node:
        del node.metadata_props[:]  # stack traces of this machine
        node.doc_string = ""
    onnx.checker.check_model(result)
    return result


def refer_to(proto: onnx.ModelProto, weights: bytes) -> onnx.ModelProto:
    """Return a network whose kernels and norms are those in a safetensors file, by their offsets there.

    Args:
        weights: the content of the file, which is to lie beside the network.
    """
    result = copy.deepcopy(proto)
    offsets = tensor_offsets(weights)
    for initializer in result.graph.initializer:
        values = numpy_helper.to_array(initializer)
        offset = offsets.get(values.tobytes())
        if values.dtype.kind != "f" or values.nbytes < LEAST_BYTES or offset is None:
            continue
        initializer.ClearField("raw_data")
        initializer.data_location = onnx.TensorProto.EXTERNAL
        reference = {"location": WEIGHTS, "offset": str(offset), "length": str(values.nbytes)}
        for key, value in reference.items():
            initializer.external_data.add(key=key, value=value)
    return result


def tensor_offsets(weights: bytes) -> dict[bytes, int]:
    """Return the offset of each tensor in a safetensors file, by its content.

    The format: the length of the header, 8 bytes; the header, JSON, with offsets from its end; the tensors.
    """
    (length,) = struct.unpack_from("<Q", weights)
    header = json.loads(weights[8 : 8 + length])
    spans = [entry["data_offsets"] for name, entry in header.items() if name != "__metadata__"]
    start = 8 + length
    return {weights[start + begin : start + end]: start + begin for begin, end in sorted(spans, reverse=True)}
