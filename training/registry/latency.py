"""The time that two models take for one picture, in turn on the same machine, so that both meet the same load."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from scipy.stats import binom

from handler.preprocess import decode
from training.evaluation.contestants import Contestant

WARM_UP, ROUNDS = 5, 60


@dataclass(frozen=True, slots=True)
class Latency:
    """Medians in milliseconds, and the median ratio new / old with its 95 % interval."""

    old_ms: float
    new_ms: float
    ratio: float
    low: float
    high: float
    rounds: int


def time_of(model: Contestant, data: bytes) -> float:
    """Return the seconds that decoding a picture and the network take, on one thread."""
    started = time.perf_counter()
    model.logits(decode(data, model.input)[None])
    return time.perf_counter() - started


def compare_latency(old: Contestant, new: Contestant, pictures: Sequence[bytes], rounds: int = ROUNDS) -> Latency:
    """Ask both about the same picture in each round, each first in turn.

    Args:
        pictures: encoded pictures, one or more, which the rounds go through.
    """
    for round_ in range(WARM_UP):
        for model in (old, new):
            time_of(model, pictures[round_ % len(pictures)])
    times: dict[bool, list[float]] = {False: [], True: []}
    for round_ in range(rounds):
        for is_new in (False, True) if round_ % 2 else (True, False):
            times[is_new].append(time_of(new if is_new else old, pictures[round_ % len(pictures)]))
    ratios = [after / before for before, after in zip(times[False], times[True], strict=True)]
    low, high = median_bounds(ratios)
    return Latency(1000 * median(times[False]), 1000 * median(times[True]), median(ratios), low, high, rounds)


def median_bounds(values: Sequence[float]) -> tuple[float, float]:
    """Return the order statistics between which the median lies with at least 95 % confidence (binomial, exact)."""
    ordered = sorted(values)
    rank = int(binom.ppf(0.025, len(ordered), 0.5))
    return ordered[max(0, rank - 1)], ordered[min(len(ordered) - 1, len(ordered) - rank)]
