"""What runs the network: one small protocol, and the choice among what is installed."""

import importlib.util
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from handler.files import UserError
from handler.preprocess import Pixels

Logits = npt.NDArray[np.float32]

# By preference: the runtime's name, the package it needs, the model file it reads.
RUNTIMES = (
    ("torch", "torch.export", "model.pt2"),
    ("mnn", "MNN", "model.mnn"),
    ("ort", "onnxruntime", "model.onnx"),
)


class Runtime(Protocol):
    """A loaded network."""

    name: str
    chooses_by_size: bool
    """Whether the first batch of a size costs more than the next of that size, though a larger one was seen."""

    def logits(self, pixels: Pixels) -> Logits:
        """uint8 (n, size, size, 3) -> float32 (n, classes)."""
        ...


def is_installed(package: str) -> bool:
    """Whether it can be imported. The stand-in for torch (serving/standin) is no package, and has no submodules."""
    try:
        return importlib.util.find_spec(package) is not None
    except ModuleNotFoundError:
        return False


def load_runtime(folder: Path, name: str | None = None, threads: int = 1, gpu: int | None = None) -> Runtime:
    """The first runtime that is installed and whose model file is in `folder`, or the one that is named.

    Args:
        threads: of one call. Workers are processes, one for each core, and two threads each would fight.
        gpu: the one that this worker shall use, where a runtime can.

    Raises:
        UserError: there is none.
    """
    for runtime, package, file in RUNTIMES:
        if name in (None, runtime) and (folder / file).exists() and is_installed(package):
            if runtime == "torch":
                from handler.runtimes.torch_runtime import TorchRuntime

                return TorchRuntime(folder / file, threads, gpu)
            if runtime == "mnn":
                from handler.runtimes.mnn_runtime import MnnRuntime

                return MnnRuntime(folder / file, threads)
            from handler.runtimes.ort_runtime import OrtRuntime

            return OrtRuntime(folder / file, threads)
    wanted = " or ".join(f"{package} with {file}" for runtime, package, file in RUNTIMES if name in (None, runtime))
    raise UserError(f"Nothing can run the model in {folder}: that needs {wanted or f'a runtime named {name}'}.")
