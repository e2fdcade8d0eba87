"""MNN, the fastest fp32 network on a CPU without AVX-512: its Winograd convolutions multiply less often.

Its wheel multiplies 8 numbers at a time, by AVX2.
"""

import ctypes
import os
import re
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from handler.files import UserError, sha256_file
from handler.predictor import softmax
from handler.preprocess import Pixels
from handler.release import golden_pixels
from handler.runtimes.runtime import FP32, Logits, ModelFile, Runtime

# Of a probability: the largest change for which kernels are stored as fp16.
MAX_ROUNDING = 1e-3
UUID = re.compile(rb"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class MnnNetwork:
    """A network converted to MNN; input `image`, uint8 NHWC; output `logits`, and the tensor `inner` if named."""

    precision = FP32

    def __init__(
        self, path: Path, precision: str, threads: int, gpu: int | None = None, inner: str | None = None
    ) -> None:
        with quiet_stdout():
            import MNN.expr
            import MNN.nn

            self._expr = MNN.expr
            # `high` is fp32; MNN's default may take fp16 where the processor has it.
            settings = {"backend": "CPU", "numThread": threads, "precision": "high"}
            self._manager = MNN.nn.create_runtime_manager((settings,))
            outputs = ["logits"] if inner is None else ["logits", inner]
            self._net = MNN.nn.load_module_from_file(str(path), ["image"], outputs, runtime_manager=self._manager)

    @property
    def size(self) -> int:
        """Side of the input in pixels."""
        (image,) = self._net.get_info()["inputs"]
        return int(image.shape[1])

    def logits(self, pixels: Pixels) -> Logits:
        return self._forward(pixels)[0]

    def logits_and_inner(self, pixels: Pixels) -> tuple[Logits, Logits]:
        logits, inner = self._forward(pixels, 2)
        return logits, inner

    def _forward(self, pixels: Pixels, wanted: int = 1) -> list[Logits]:
        """Return copies of the first outputs."""
        batch = np.ascontiguousarray(pixels)
        image = self._expr.const(batch, list(batch.shape), self._expr.NCHW, self._expr.uint8)
        outputs = self._net.forward([image])
        return [np.array(out.read(), dtype=np.float32).reshape(len(batch), -1) for out in outputs[:wanted]]


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


def make(network: Path, release: Path) -> bytes:
    """Convert with MNN's own converter, and store the kernels as fp16 where the answers stay nearly the same.

    MNN folds norms into kernels, so those that the network holds as fp16 are rounded once more. They are computed in
    fp32.

    Raises:
        UserError: the converter refuses.
    """
    exact = convert(network)
    if b".fp16" not in network.read_bytes():
        return exact
    halved = convert(network, "--fp16")
    return halved if answer_alike(exact, halved) else exact


def answer_alike(first: bytes, second: bytes) -> bool:
    """Return whether two models in MNN's format give the known pictures nearly the same probabilities."""
    # A worker starts sooner without this.
    import tempfile

    answers = []
    with tempfile.TemporaryDirectory(prefix="catsdogs-mnn-") as folder:
        for name, data in (("first.mnn", first), ("second.mnn", second)):
            Path(folder, name).write_bytes(data)
            network = MnnNetwork(Path(folder, name), FP32, 1)
            answers.append(softmax(network.logits(golden_pixels(network.size))))
    return bool(np.abs(answers[0] - answers[1]).max() <= MAX_ROUNDING)


def convert(network: Path, *options: str) -> bytes:
    """Convert with MNN's own converter, and name the file by a uuid that follows from the weights.

    The converter is called below its command line, which sends usage statistics and installs a package for that. It
    writes into a pipe: on a full disk it would leave half a file and call that a success.

    Raises:
        UserError: the converter refuses.
    """
    # A worker never converts, and starts sooner without these.
    import subprocess
    from concurrent.futures import ThreadPoolExecutor

    arguments = ["", "-f", "ONNX", "--modelFile", str(network), "--bizCode", "catsdogs", "--keepInputFormat", "1"]
    arguments += options
    code = "import sys, _tools; _tools.mnnconvert(sys.argv[1:])"
    reader, writer = os.pipe()
    command = [sys.executable, "-P", "-c", code, *arguments, "--MNNModel", f"/dev/fd/{writer}"]
    with open(reader, "rb") as pipe, ThreadPoolExecutor(1) as pool:
        converted = pool.submit(pipe.read)
        try:
            done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, pass_fds=[writer])
        finally:
            os.close(writer)
        data = bytearray(converted.result())
    if done.returncode or not data:
        raise UserError(f"MNN cannot convert {network.name}:\n{done.stdout.decode(errors='replace')[-2000:]}")
    # A random uuid near the start, seen at offset 72; it would make every archive another one.
    match = UUID.search(data, 0, 512)
    if match is None:
        raise UserError(
            "MNN's file has no uuid where this converter puts one: check handler/runtimes/mnn_runtime.py against it."
        )
    data[match.start() : match.end()] = str(uuid.uuid5(uuid.NAMESPACE_OID, sha256_file(network))).encode()
    return bytes(data)


def rank(cpuinfo: str) -> int:
    """Return a rank between OpenVINO's two."""
    return 20


RUNTIME = Runtime(
    name="mnn",
    title="MNN",
    package="MNN",
    # Folded kernels are rounded to fp16, and Winograd convolutions round more often.
    models={FP32: ModelFile("model.mnn", tolerance=5e-3, make=make, rank=rank)},
    load=MnnNetwork,
    load_inner=MnnNetwork,
)
