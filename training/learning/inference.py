"""Runs of a frozen network by OpenVINO: on a CPU in fp32, about three times as fast as torch at networks for phones."""

import warnings
from collections.abc import Callable

import numpy as np
import torch
from torch import nn

Network = Callable[[torch.Tensor], torch.Tensor]
# Views from which the 15 seconds of compiling are made good.
WORTH = 2048


def compiled(network: nn.Module, batch: int, size: int) -> Network:
    """Return `network` compiled for batches of up to `batch` pictures: uint8 (n, size, size, 3) -> float32 (n, k).

    Its outputs differ from torch's by rounding alone: 1e-5 at EfficientNet-Lite2's features. Where OpenVINO is not
    installed, since it has no wheel for the machine, and where ONNX lacks an operation, the result is `network` itself.

    Args:
        network: in evaluation mode and on the CPU.
    """
    try:
        from handler.runtimes.openvino_runtime import core

        processor = core()
    except ModuleNotFoundError:
        return network
    example = torch.zeros((batch, size, size, 3), dtype=torch.uint8)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter deprecates parts of itself
        try:
            exported = torch.onnx.export(network, (example,), dynamo=True, optimize=False, verbose=False)
        except torch.onnx.OnnxExporterError:
            return network
    assert exported is not None
    options = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "f32",
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        "ENABLE_CPU_PINNING": False,
    }
    program = processor.compile_model(
        processor.read_model(exported.model_proto.SerializeToString(), b""), "CPU", options
    )

    def run(pixels: torch.Tensor) -> torch.Tensor:
        count = len(pixels)
        padded = np.zeros(example.shape, dtype=np.uint8)
        padded[:count] = pixels.numpy()
        return torch.from_numpy(program(padded)[0][:count].copy())

    return run
