"""ONNX Runtime: the reference in training, and what serves on processors where OpenVINO was not measured."""

from pathlib import Path

import numpy as np

from handler.onnx_graph import with_output
from handler.preprocess import Pixels
from handler.runtimes.onnx_files import FP32_FILE, FP32_TOLERANCE, INT8_FILE, INT8_TOLERANCE, make_fp32, make_int8
from handler.runtimes.runtime import FP32, INT8, Logits, ModelFile, Runtime


class OrtNetwork:
    """The released ONNX; input `image`, uint8 NHWC; output `logits`, and the tensor `inner` where one is named."""

    def __init__(
        self, path: Path, precision: str, threads: int, gpu: int | None = None, inner: str | None = None
    ) -> None:
        import onnxruntime

        self.precision = precision
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self._inner = inner
        model = str(path) if inner is None else with_output(path.read_bytes(), inner)
        self._session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])

    def logits(self, pixels: Pixels) -> Logits:
        (out,) = self._session.run(["logits"], {"image": np.ascontiguousarray(pixels)})
        return np.asarray(out, dtype=np.float32)

    def logits_and_inner(self, pixels: Pixels) -> tuple[Logits, Logits]:
        logits, inner = self._session.run(["logits", self._inner], {"image": np.ascontiguousarray(pixels)})
        return np.asarray(logits, dtype=np.float32), np.asarray(inner, dtype=np.float32).reshape(len(pixels), -1)


def rank(cpuinfo: str) -> int:
    """Return a rank after OpenVINO's and MNN's."""
    return 40


RUNTIME = Runtime(
    name="ort",
    title="ONNX Runtime",
    package="onnxruntime",
    models={
        FP32: ModelFile(FP32_FILE, FP32_TOLERANCE, make_fp32, rank),
        INT8: ModelFile(INT8_FILE, INT8_TOLERANCE, make_int8, rank),
    },
    load=OrtNetwork,
    load_inner=OrtNetwork,
)
