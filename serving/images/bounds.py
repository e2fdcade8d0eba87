"""Bounds on the memory and CPU time of one operation: those of a prediction, and time to encode the result."""

from collections.abc import Callable
from typing import TypeVar

from handler import memory, tiff
from handler.budget import Exhausted, within
from handler.problem import Problem

T = TypeVar("T")

CPU_S = 5.0
# Private memory beside the ceiling's: the interpreter with numpy and Pillow, and a result that is sent.
BASE_MIB = 156
# What the process takes at most, by which containers are sized.
MEMORY_MIB = BASE_MIB + (memory.BODY + memory.ROW) // memory.MIB


class Bounds:
    """The bounds of this process. Its main thread carries out one operation at a time."""

    def __init__(self) -> None:
        tiff.silence()
        memory.tune()
        self.ceiling = memory.Ceiling(1)

    def run(self, work: Callable[[], T]) -> T:
        """Return the result of `work`.

        Raises:
            Problem: as `work`, or 413 where it takes too much time or memory.
        """
        try:
            with self.ceiling:
                return within(CPU_S, work)
        except Exhausted:
            raise Problem(
                413, "too_many_pixels", f"The picture takes more than {CPU_S:.0f} s: send a smaller one."
            ) from None
        except MemoryError:
            problem = Problem(413, "too_many_pixels", "The picture takes too much memory: send a smaller one.")
        memory.trim()
        raise problem
