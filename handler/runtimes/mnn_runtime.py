"""MNN, the fastest fp32 network on a CPU without AVX-512: its Winograd convolutions multiply less often."""

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from handler.preprocess import Pixels
from handler.runtimes import Logits


class MnnRuntime:
    """A network converted to MNN; input `image`, uint8 NHWC; output `logits`."""

    name = "mnn"
    chooses_by_size = False

    def __init__(self, path: Path, threads: int) -> None:
        with quiet_stdout():
            import MNN.expr
            import MNN.nn

            self._expr = MNN.expr
            # `high` is fp32; MNN's default may take fp16 where the processor has it.
            settings = {"backend": "CPU", "numThread": threads, "precision": "high"}
            self._manager = MNN.nn.create_runtime_manager((settings,))
            self._net = MNN.nn.load_module_from_file(str(path), ["image"], ["logits"], runtime_manager=self._manager)

    def logits(self, pixels: Pixels) -> Logits:
        batch = np.ascontiguousarray(pixels)
        image = self._expr.const(batch, list(batch.shape), self._expr.NCHW, self._expr.uint8)
        (out,) = self._net.forward([image])
        return np.array(out.read(), dtype=np.float32).reshape(len(batch), -1)


@contextmanager
def quiet_stdout() -> Iterator[None]:
    """MNN's C++ code greets on standard output, where our answers go; its errors stay on standard error."""
    sys.stdout.flush()
    kept = os.dup(1)
    try:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), 1)
        yield
    finally:
        ctypes.CDLL(None).fflush(None)  # C keeps what it printed into a pipe until the process ends
        os.dup2(kept, 1)
        os.close(kept)
