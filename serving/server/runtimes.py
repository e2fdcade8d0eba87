"""Which runtime is the fastest on this machine? What handler/runtimes/choice.py tells by the processor alone."""

import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from handler.files import UserError
from handler.predictor import Predictor
from handler.runtimes.choice import available
from handler.runtimes.runtime import CPU_BATCH
from serving.server.archive import unpack

# A lone picture, and as many as a worker is given at once.
BATCHES = (1, CPU_BATCH)
ROUNDS = 15


@dataclass(frozen=True, slots=True)
class Timing:
    """A runtime's time per picture, in ms of one core, by the number of pictures in a batch."""

    name: str
    milliseconds: dict[int, float]


def time_runtimes(archive: Path, progress: Callable[[int, int], None], rounds: int = ROUNDS) -> list[Timing]:
    """Runs every runtime that an archive has a model for and that is installed, the one first that a server would take.

    On one thread, as a worker does; by CPU time, so that what others take of the machine counts less; in rounds through
    all of them, so that a slow moment falls on none alone. Medians.

    Args:
        progress: is told how many of how many rounds are done.

    Raises:
        UserError: nothing here runs the archive, or a model answers wrongly.
    """
    with tempfile.TemporaryDirectory(prefix="catsdogs-runtimes-") as folder:
        facts = unpack(archive, Path(folder))
        names = [runtime.name for runtime in available(Path(folder))]
        if not names:
            raise UserError(f"No runtime that is installed here can run {archive}.")
        predictors = {name: Predictor(Path(folder), name) for name in names}
        pictures = {count: np.zeros((count, facts.size, facts.size, 3), dtype=np.uint8) for count in BATCHES}
        taken: dict[tuple[str, int], list[float]] = {(name, count): [] for name in names for count in BATCHES}
        for number in range(rounds + 1):
            for (name, count), times in taken.items():
                started = time.process_time()
                predictors[name].network.logits(pictures[count])
                if number:  # the first round allocates
                    times.append(1000 * (time.process_time() - started) / count)
            progress(number, rounds)
    return [Timing(name, {count: statistics.median(taken[name, count]) for count in BATCHES}) for name in names]
