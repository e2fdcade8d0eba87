"""The statement that each NAME_runtime.py makes about its runtime, as RUNTIME."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from handler.preprocess import Pixels

Logits = npt.NDArray[np.float32]

FP32, FP16, INT8 = "fp32", "fp16", "int8"
PRECISIONS = (FP32, FP16, INT8)

# The most pictures that a worker is given at once. On a CPU 4 cost each hardly more than 8 do, and while a batch is
# computed, more are left to form the next: with 8 clients 5 % more are answered, and p99 is a third less; with 32, 3 %
# fewer are. A GPU gains from more; how many is not measured.
CPU_BATCH, GPU_BATCH = 4, 8


class Network(Protocol):
    """A loaded network."""

    precision: str
    """What it computes in: fp32, fp16 or int8."""

    def logits(self, pixels: Pixels) -> Logits:
        """Return the logits, float32 (n, classes), of pixels, uint8 (n, size, size, 3)."""
        ...


class InnerNetwork(Network, Protocol):
    """A loaded network that also gives a tensor from its inside."""

    def logits_and_inner(self, pixels: Pixels) -> tuple[Logits, Logits]:
        """Return the logits, and the tensor as float32 (n, features)."""
        ...


def usual_rank(cpuinfo: str) -> int:
    """Return the rank of a runtime that no measurement recommends: after all others."""
    return 100


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A model file in the archive, in one precision."""

    name: str
    tolerance: float
    """Largest difference of a probability from the reference's with which a model is released: from torch's, or for
    int8 from that of the runtime which the release's golden answers come from."""
    make: Callable[[Path, Path], bytes] | str
    """Makes the file from the ONNX network, a file that holds its weights, and the folder of the release.
    A function that needs what the archive does not hold is named instead, as "module:function"."""
    rank: Callable[[str], int] = usual_rank
    """Rank among the runtimes of a precision on a processor, from the text of /proc/cpuinfo: the lowest is used."""


def only_fp32() -> str:
    return FP32


@dataclass(frozen=True, slots=True)
class Runtime:
    """A runtime, which is installed or not."""

    name: str
    """Name in options and variables."""
    title: str
    """Name in sentences."""
    package: str
    """Module that must be importable, which is imported by nothing but `load` and the files' `make`."""
    models: Mapping[str, ModelFile]
    """Model file by precision."""
    load: Callable[[Path, str, int, int | None], Network]
    """Loads a model file in a precision for a number of threads, and on the GPU of that number where the runtime uses
    one."""
    usual_precision: Callable[[], str] = only_fp32
    """Precision that is used where neither the user nor the release names one that the runtime has."""
    load_inner: Callable[[Path, str, int, int | None, str], InnerNetwork] | None = None
    """Loads a model file as `load` does, so that it also gives the tensor of that name in the ONNX network, and raises
    an exception where the file has no such tensor; None for a runtime that cannot."""
    gpu: bool = False
    """Whether it is meant for GPUs: an archive for CPUs leaves it out."""
    chooses_by_size: bool = False
    """Whether the first batch of a size costs more than the next of that size, though a larger one was seen."""

    @property
    def batch(self) -> int:
        """The most pictures that a worker is given at once."""
        return GPU_BATCH if self.gpu else CPU_BATCH
