"""Interleaved CPU times of several ways to do one thing to each of many pictures."""

import math
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt

# Milliseconds by picture.
Times = npt.NDArray[np.float64]
# Gets what the work needs, which is not measured, and returns the work.
Prepare = Callable[[bytes], Callable[[], object]]


@contextmanager
def unpacked(archive: Path) -> Iterator[Path]:
    """Give a folder with an archive's files for as long as the block runs."""
    with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(archive) as packed:
        packed.extractall(folder)
        yield Path(folder)


def photographs(folder: Path, limit: int) -> list[bytes]:
    """Return the bytes of at most `limit` JPEG pictures, evenly spread over a folder and its subfolders."""
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg"))
    return [path.read_bytes() for path in paths[:: max(1, math.ceil(len(paths) / limit))]]


def interleaved(ways: Mapping[str, Prepare], pictures: Sequence[bytes], rounds: int) -> dict[str, Times]:
    """Return the least CPU time over all rounds, in ms, by way and picture.

    All ways take a picture in turn, and each round begins with another way: none has always the warmer cache.
    """
    names = list(ways)
    least = {name: np.full(len(pictures), np.inf) for name in names}
    for turn in range(rounds):
        first = turn % len(names)
        for index, picture in enumerate(pictures):
            for name in names[first:] + names[:first]:
                work = ways[name](picture)
                started = time.process_time_ns()
                work()
                taken = (time.process_time_ns() - started) / 1e6
                least[name][index] = min(least[name][index], taken)
    return least


def mean_interval(values: Times) -> tuple[float, float]:
    """Return the mean and half the width of its 95 % interval."""
    return float(values.mean()), 1.96 * float(values.std(ddof=1)) / math.sqrt(len(values))
