"""The measured speed of each runtime and precision; handler/runtimes/choice.py chooses by the processor alone."""

import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from handler.files import UserError
from handler.predictor import Predictor
from handler.release import read_release
from handler.runtimes.choice import available, choose
from handler.runtimes.runtime import CPU_BATCH, FP16, FP32, INT8
from serving.server.archive import unpack

# A lone picture, and as many as a worker is given at once.
BATCHES = (1, CPU_BATCH)
ROUNDS = 15


@dataclass(frozen=True, slots=True)
class Timing:
    """The time per picture of a runtime in a precision, in ms of one core, by the number of pictures in a batch."""

    name: str
    precision: str
    chosen: bool
    """Whether a server takes it where it is not told."""
    milliseconds: dict[int, float]

    def faster_than(self, other: "Timing") -> bool:
        """Return whether it is faster in batches of every size."""
        return all(self.milliseconds[count] < other.milliseconds[count] for count in BATCHES)


def time_runtimes(archive: Path, progress: Callable[[int, int], None], rounds: int = ROUNDS) -> list[Timing]:
    """Run every runtime that an archive has a model for and that is installed, in each of its precisions.

    On one thread, as a worker does; by CPU time, so that what others take of the machine counts less; in rounds through
    all of them, so that a slow moment falls on none alone. Medians.

    Args:
        progress: is told how many of how many rounds are done.

    Raises:
        UserError: nothing here runs the archive, or a model answers wrongly.
    """
    with tempfile.TemporaryDirectory(prefix="catsdogs-runtimes-") as name:
        folder = Path(name)
        facts = unpack(archive, folder)
        choices = [choice for precision in (INT8, FP32, FP16) for choice in available(folder, precision)]
        if not choices:
            raise UserError(f"No runtime that is installed here can run {archive}.")
        chosen = choose(folder, read_release(folder).precision)
        predictors = [Predictor(folder, choice.runtime.name, choice.precision) for choice in choices]
        taken = _measure(predictors, facts.input.size, progress, rounds)
    return [
        Timing(choice.runtime.name, choice.precision, choice == chosen, milliseconds)
        for choice, milliseconds in zip(choices, taken, strict=True)
    ]


def _measure(
    predictors: list[Predictor], size: int, progress: Callable[[int, int], None], rounds: int
) -> list[dict[int, float]]:
    """Return the milliseconds per picture of each predictor, by the number of pictures in a batch."""
    pictures = {count: np.zeros((count, size, size, 3), dtype=np.uint8) for count in BATCHES}
    taken: dict[tuple[int, int], list[float]] = {(i, count): [] for i in range(len(predictors)) for count in BATCHES}
    for number in range(rounds + 1):
        for (i, count), times in taken.items():
            started = time.process_time()
            predictors[i].network.logits(pictures[count])
            if number:  # the first round allocates
                times.append(1000 * (time.process_time() - started) / count)
        progress(number, rounds)
    return [{count: statistics.median(taken[i, count]) for count in BATCHES} for i in range(len(predictors))]
