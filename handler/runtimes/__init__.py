"""Runtimes, which run the network: their common protocol, and the choice among those that are installed."""

import importlib.util
import re
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from handler.files import UserError
from handler.preprocess import Pixels

Logits = npt.NDArray[np.float32]

# The runtime's name, the package it needs, the model file it reads.
TORCH = ("torch", "torch.export", "model.pt2")
MNN = ("mnn", "MNN", "model.mnn")
ORT = ("ort", "onnxruntime", "model.onnx")
RUNTIMES = (TORCH, MNN, ORT)
CPUINFO = Path("/proc/cpuinfo")


class Runtime(Protocol):
    """A loaded network."""

    name: str
    chooses_by_size: bool
    """Whether the first batch of a size costs more than the next of that size, though a larger one was seen."""

    def logits(self, pixels: Pixels) -> Logits:
        """Return the logits, float32 (n, classes), of pixels, uint8 (n, size, size, 3)."""
        ...


def is_installed(package: str) -> bool:
    """Return whether it can be imported. The stand-in for torch (serving/server/standin) has no submodules."""
    try:
        return importlib.util.find_spec(package) is not None
    except ModuleNotFoundError:
        return False


def by_preference(cpuinfo: Path = CPUINFO) -> tuple[tuple[str, str, str], ...]:
    """RUNTIMES, the fastest first. An archive has torch's file only where a GPU is meant.

    Of the other two, MNN multiplies less often (Winograd), and its wheel does so 8 numbers at a time, by AVX2. ONNX
    Runtime takes 16 where the processor has AVX-512, and is faster then, on Intel's (`catsdogs runtimes` measures it).
    AMD's were not measured: those before Zen 5 take the 16 in two steps. So MNN is first there, and wherever nothing is
    known.
    """
    try:
        processor = cpuinfo.read_text()
    except OSError:
        return RUNTIMES
    wide = "GenuineIntel" in processor and re.search(r"^flags\b.*\bavx512f\b", processor, re.MULTILINE)
    return (TORCH, ORT, MNN) if wide else RUNTIMES


def available(folder: Path) -> list[str]:
    """Names of the runtimes that are installed and whose model file is in `folder`, the fastest first."""
    return [name for name, package, file in by_preference() if (folder / file).exists() and is_installed(package)]


def load_runtime(folder: Path, name: str | None = None, threads: int = 1, gpu: int | None = None) -> Runtime:
    """The fastest runtime that is available in `folder`, or the one that is named.

    Args:
        threads: of one call. Workers are processes, one for each core, and two threads each would fight.
        gpu: the one that this worker shall use, where a runtime can.

    Raises:
        UserError: there is none.
    """
    names = [one for one in available(folder) if name in (None, one)]
    match names[:1]:
        case ["torch"]:
            from handler.runtimes.torch_runtime import TorchRuntime

            return TorchRuntime(folder / TORCH[2], threads, gpu)
        case ["mnn"]:
            from handler.runtimes.mnn_runtime import MnnRuntime

            return MnnRuntime(folder / MNN[2], threads)
        case ["ort"]:
            from handler.runtimes.ort_runtime import OrtRuntime

            return OrtRuntime(folder / ORT[2], threads)
    wanted = " or ".join(f"{package} with {file}" for runtime, package, file in RUNTIMES if name in (None, runtime))
    raise UserError(f"Nothing can run the model in {folder}: that needs {wanted or f'a runtime named {name}'}.")
