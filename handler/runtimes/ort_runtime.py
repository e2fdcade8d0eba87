"""ONNX Runtime: the reference, and the fastest fp32 network on Intel's CPUs with AVX-512."""

from pathlib import Path

import numpy as np

from handler.preprocess import Pixels
from handler.runtimes import Logits


class OrtRuntime:
    """The released ONNX; input `image`, uint8 NHWC; output `logits`."""

    name = "ort"
    chooses_by_size = False

    def __init__(self, path: Path, threads: int) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def logits(self, pixels: Pixels) -> Logits:
        (out,) = self._session.run(["logits"], {"image": np.ascontiguousarray(pixels)})
        return np.asarray(out, dtype=np.float32)
