"""The released network as the other servers use it: our decoding, one thread for each process, no queue.

It decodes by our own `handler.preprocess`, which is faster than torchvision's, so what differs is the server, and the
runtime where ours is another.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from handler.preprocess import Pixels, decode
from handler.release import read_release
from handler.runtimes.runtime import Logits
from loadtest.rivals.batch import FILES

# As our own runtime sets it: without the last, a processor with AVX-512 BF16 or AMX computes fp32 in bf16.
OPENVINO = {
    "INFERENCE_NUM_THREADS": 1,
    "NUM_STREAMS": 1,
    "ENABLE_CPU_PINNING": False,
    "PERFORMANCE_HINT": "LATENCY",
    "INFERENCE_PRECISION_HINT": "f32",
}
Compute = Callable[[Pixels], Logits]


def by_onnxruntime(model: Path) -> Compute:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return lambda pixels: np.asarray(session.run(None, {"image": pixels})[0])


def by_openvino(model: Path) -> Compute:
    import openvino

    core = openvino.Core()
    request = core.compile_model(core.read_model(model), "CPU", OPENVINO).create_infer_request()

    def compute(pixels: Pixels) -> Logits:
        request.infer({"image": pixels})
        # A copy: the request's own memory is written anew by the next picture.
        return np.array(request.get_output_tensor(0).data)

    return compute


RUNTIMES = {"onnxruntime": by_onnxruntime, "openvino": by_openvino}


class Network:
    """The network of a folder in a runtime: from a picture's bytes to an answer."""

    def __init__(self, folder: Path, runtime: str, precision: str) -> None:
        self.release = read_release(folder)
        self.compute = RUNTIMES[runtime](folder / FILES[precision])

    def predict(self, data: bytes) -> dict[str, Any]:
        """Return the answer to a picture.

        Raises:
            Problem: it is none.
        """
        pixels = decode(data, self.release.input)
        logits = self.compute(pixels[np.newaxis])[0]
        shares = np.exp(logits - logits.max())
        shares /= shares.sum()
        best, classes = int(shares.argmax()), self.release.classes
        return {
            "label": classes[best],
            "probability": float(shares[best]),
            "probabilities": {name: float(share) for name, share in zip(classes, shares, strict=True)},
        }


def from_environment() -> Network:
    """Return the network that RIVAL_FOLDER, RIVAL_RUNTIME and RIVAL_PRECISION name."""
    return Network(Path(os.environ["RIVAL_FOLDER"]), os.environ["RIVAL_RUNTIME"], os.environ["RIVAL_PRECISION"])
