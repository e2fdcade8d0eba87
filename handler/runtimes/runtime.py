"""The statement that each NAME_runtime.py makes about its runtime, as RUNTIME."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from handler.preprocess import Pixels

Logits = npt.NDArray[np.float32]

# The most pictures that a worker is given at once. On a CPU 4 cost each hardly more than 8 do, and while a batch is
# computed, more are left to form the next: with 8 clients 5 % more are answered, and p99 is a third less; with 32, 3 %
# fewer are. A GPU gains from more; how many is not measured.
CPU_BATCH, GPU_BATCH = 4, 8


class Network(Protocol):
    """A loaded network."""

    def logits(self, pixels: Pixels) -> Logits:
        """Return the logits, float32 (n, classes), of pixels, uint8 (n, size, size, 3)."""
        ...


def usual_rank(cpuinfo: str) -> int:
    """Return the rank of a runtime that no measurement recommends: after all others."""
    return 100


@dataclass(frozen=True, slots=True)
class Runtime:
    """A runtime, which is installed or not."""

    name: str
    """Name in options and variables."""
    title: str
    """Name in sentences."""
    package: str
    """Module that must be importable, which is imported by nothing but `load` and `make`."""
    file: str
    """The model file in the archive."""
    tolerance: float
    """Largest difference of a probability from torch's with which a model is released."""
    load: Callable[[Path, int, int | None], Network]
    """Loads the model file for a number of threads, and on the GPU of that number where the runtime uses one."""
    make: Callable[[Path, Path], bytes] | str
    """Makes the model file from the ONNX network, a file that holds its weights, and the folder of the release.
    A function that needs what the archive does not hold is named instead, as "module:function"."""
    rank: Callable[[str], int] = usual_rank
    """Rank among the runtimes of an archive on a processor, from the text of /proc/cpuinfo: the lowest is used."""
    gpu: bool = False
    """Whether it is meant for GPUs: an archive for CPUs leaves it out."""
    chooses_by_size: bool = False
    """Whether the first batch of a size costs more than the next of that size, though a larger one was seen."""

    @property
    def batch(self) -> int:
        """The most pictures that a worker is given at once."""
        return GPU_BATCH if self.gpu else CPU_BATCH
