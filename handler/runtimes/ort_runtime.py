"""ONNX Runtime: the reference, and the fastest fp32 network on Intel's CPUs with AVX-512."""

import re
from pathlib import Path

import numpy as np

from handler.preprocess import Pixels
from handler.runtimes.runtime import Logits, Runtime


class OrtNetwork:
    """The released ONNX; input `image`, uint8 NHWC; output `logits`."""

    def __init__(self, path: Path, threads: int, gpu: int | None = None) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def logits(self, pixels: Pixels) -> Logits:
        (out,) = self._session.run(["logits"], {"image": np.ascontiguousarray(pixels)})
        return np.asarray(out, dtype=np.float32)


def rank(cpuinfo: str) -> int:
    """Return a rank before MNN's on Intel's processors with AVX-512, whose 16 numbers at a time it uses.

    AMD's were not measured: those before Zen 5 take the 16 in two steps. `catsdogs runtimes` measures it.
    """
    wide = "GenuineIntel" in cpuinfo and re.search(r"^flags\b.*\bavx512f\b", cpuinfo, re.MULTILINE)
    return 10 if wide else 30


def make(network: Path, release: Path) -> bytes:
    """Return the ONNX network as it is."""
    return network.read_bytes()


RUNTIME = Runtime(
    name="ort",
    title="ONNX Runtime",
    package="onnxruntime",
    file="model.onnx",
    tolerance=1e-4,  # it adds the same float32 numbers as torch, in another order
    load=OrtNetwork,
    make=make,
    rank=rank,
)
