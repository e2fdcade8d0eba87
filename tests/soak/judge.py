"""Does it grow? A leak raises the floor of a series for as long as it runs; work in flight and warm-up do not."""

import itertools
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from handler.records import MAX_FOLDER_BYTES

# The floor is the least of each of so many equal spans.
SPANS = 20
# What the server takes until it has met every kind of request often enough, as a part of the whole time.
WARM_UP = 1 / 3
# How far a floor may rise from the end of warm-up to the end: so many, or such a part of its level where that is more.
# Allocators give memory back late, so a tenth is noise in ten minutes; a leak of 1 kB a request is more.
BOUNDS = {
    "memory, MiB": (8.0, 0.1),
    "descriptors": (4.0, 0.0),
    "threads": (3.0, 0.0),
    "files": (4.0, 0.0),
    "disk, MiB": (2.0, 0.0),
    # They grow by design, and lose the oldest beyond this.
    "records, MiB": (MAX_FOLDER_BYTES / 2**20, 0.0),
}


@dataclass(frozen=True, slots=True)
class Finding:
    subject: str
    quantity: str
    level: float
    rise: float
    bound: float

    @property
    def grows(self) -> bool:
        return self.rise > self.bound

    def __str__(self) -> str:
        verdict = "GROWS" if self.grows else "holds"
        return (
            f"{verdict}  {self.subject:13} {self.quantity:12} {self.level:8.1f}  "
            f"{self.rise:+7.1f} (at most {self.bound:+.1f})"
        )


def judge(subject: str, quantity: str, seconds: Sequence[float], values: Sequence[float]) -> Finding:
    """Judge how one series grew after warm-up.

    Args:
        quantity: one of BOUNDS.
        seconds: since the start, rising; at least two after warm-up.
    """
    kept = [(s, v) for s, v in zip(seconds, values, strict=True) if s >= WARM_UP * seconds[-1]]
    floor = lows(kept)
    level = statistics.median(value for _, value in floor)
    absolute, part = BOUNDS[quantity]
    rise = slope(floor) * (kept[-1][0] - kept[0][0])
    return Finding(subject, quantity, level, rise, max(absolute, part * level))


def lows(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The middle and the least value of each span, in order."""
    spans = min(SPANS, len(points))
    cuts = [len(points) * number // spans for number in range(spans + 1)]
    parts = [points[start:end] for start, end in itertools.pairwise(cuts)]
    return [(statistics.mean(s for s, _ in part), min(v for _, v in part)) for part in parts]


def slope(points: Sequence[tuple[float, float]]) -> float:
    """Per second; the median of all pairs' (Theil and Sen), which a few outliers do not move."""
    return statistics.median((b[1] - a[1]) / (b[0] - a[0]) for a, b in itertools.combinations(points, 2))
