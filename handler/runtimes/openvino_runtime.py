"""OpenVINO: the fastest int8 network on x86-64, and the fastest fp32 network where AVX-512 is computed in one step."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from handler.preprocess import Pixels
from handler.runtimes.onnx_files import FP32_FILE, FP32_TOLERANCE, INT8_FILE, INT8_TOLERANCE, make_fp32, make_int8
from handler.runtimes.processor import flags_of
from handler.runtimes.runtime import FP32, INT8, Logits, ModelFile, Runtime

if TYPE_CHECKING:
    import openvino

CONVERTER = "openvino.tools.ovc"


@contextmanager
def without_converter() -> Iterator[None]:
    """Keep `import openvino` from importing its converter and its telemetry, which take longer than all the rest.

    It passes over a converter that cannot be imported, which is what None in sys.modules means.
    """
    hidden = CONVERTER not in sys.modules
    if hidden:
        sys.modules[CONVERTER] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        if hidden:
            del sys.modules[CONVERTER]


@cache
def core() -> "openvino.Core":
    """Return the only Core of this process, which is never destroyed.

    A Core of OpenVINO 2026.4 gives its thread a stack for signal handlers, and restores the previous one when it is
    destroyed. If the first of two is destroyed first, the second restores a stack that is unmapped, and the next signal
    kills the process.
    """
    with without_converter():
        import openvino

    return openvino.Core()


class OpenvinoNetwork:
    """The released ONNX; input `image`, uint8 NHWC; output `logits`, and the tensor `inner` where one is named."""

    def __init__(
        self, path: Path, precision: str, threads: int, gpu: int | None = None, inner: str | None = None
    ) -> None:
        self.precision = precision
        settings = {
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": 1,
            "PERFORMANCE_HINT": "LATENCY",
            # Pinned, all workers would share one core.
            "ENABLE_CPU_PINNING": False,
            # What is not int8 stays fp32: by default a processor with AMX or AVX-512 BF16 rounds it to bf16.
            "INFERENCE_PRECISION_HINT": "f32",
        }
        model = core().read_model(path)
        if inner is not None:
            model.add_outputs(inner)
        compiled = core().compile_model(model, "CPU", settings)
        self._request = compiled.create_infer_request()

    def logits(self, pixels: Pixels) -> Logits:
        return self._infer(pixels)[0]

    def logits_and_inner(self, pixels: Pixels) -> tuple[Logits, Logits]:
        logits, inner = self._infer(pixels, 2)
        return logits, inner

    def _infer(self, pixels: Pixels, wanted: int = 1) -> list[Logits]:
        """Return copies of the first outputs. The others are computed, but not copied."""
        batch = np.ascontiguousarray(pixels)
        outputs = self._request.infer({0: batch}, share_inputs=True, share_outputs=True).values()
        return [np.array(out, dtype=np.float32).reshape(len(batch), -1) for out in islice(outputs, wanted)]


def rank_fp32(cpuinfo: str) -> int:
    """Return a rank before MNN's on processors that compute 16 numbers of AVX-512 in one step, as OpenVINO does.

    Intel's do, and AMD's since Zen 5, which alone of AMD's have avx512_vp2intersect. There OpenVINO needs 9.7 ms for a
    picture of a batch of 4 and MNN 12.4. Zen 4 takes the 16 in two steps, and MNN needs 15.6 ms and OpenVINO 21.3
    (`catsdogs runtimes`, 176 pixels).
    """
    flags = flags_of(cpuinfo)
    wide = "GenuineIntel" in cpuinfo or "avx512_vp2intersect" in flags
    return 10 if wide and "avx512f" in flags else 30


def rank_int8(cpuinfo: str) -> int:
    """Return the first rank: on each processor that was measured it is the fastest."""
    return 10


RUNTIME = Runtime(
    name="openvino",
    title="OpenVINO",
    package="openvino",
    models={
        FP32: ModelFile(FP32_FILE, FP32_TOLERANCE, make_fp32, rank_fp32),
        INT8: ModelFile(INT8_FILE, INT8_TOLERANCE, make_int8, rank_int8),
    },
    load=OpenvinoNetwork,
    load_inner=OpenvinoNetwork,
)
