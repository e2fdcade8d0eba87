"""Exact one-sided confidence bounds of a share (Clopper and Pearson, Biometrika 26, 1934).

Requests are not independent: one stall makes hundreds slow at once. `design_effect` estimates how much less a sample is
worth for that (Kish, Survey Sampling, 1965), from how the bad requests are spread over its seconds.
"""

import math
from collections.abc import Callable, Sequence
from functools import cache


def at_most(bad: int, count: int, share: float) -> float:
    """The probability of no more than `bad` of `count` where each is bad with probability `share`."""
    if bad >= count or share <= 0:
        return 1.0
    if share >= 1:
        return 0.0
    sizes, log, log1 = math.lgamma(count + 1), math.log(share), math.log1p(-share)
    terms = (
        sizes - math.lgamma(k + 1) - math.lgamma(count - k + 1) + k * log + (count - k) * log1 for k in range(bad + 1)
    )
    return min(math.fsum(math.exp(term) for term in terms), 1.0)


def highest(bad: int, count: int, confidence: float) -> float:
    """The share of bad ones is below this, with that confidence."""
    if bad >= count:
        return 1.0
    return root(lambda share: at_most(bad, count, share) - (1 - confidence))


def lowest(bad: int, count: int, confidence: float) -> float:
    """The share of bad ones is above this, with that confidence."""
    if bad == 0:
        return 0.0
    return root(lambda share: (at_most(bad - 1, count, share)) - confidence)


def root(falling: Callable[[float], float]) -> float:
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if falling(middle) > 0 else (low, middle)
    return (low + high) / 2


def sureness(count: int, confidence: float, spare: int = 1) -> float:
    """The highest objective that `count` requests show to be kept where `spare` of them are bad."""
    return 1 - highest(spare, count, confidence)


def enough(objective: float, confidence: float) -> int:
    """Return the number of requests that show an objective kept if none is bad: 2,995 for 99.9 % at 95 %."""
    return math.ceil(math.log(1 - confidence) / math.log(objective))


@cache
def allowed(count: int, objective: float, confidence: float) -> int:
    """The most of `count` that may be bad where the objective is still not shown to be broken.

    Asked every second while requests are sent, which must not wait for it: it takes 0.4 s for thousands.
    """
    low, high = 0, count
    while low < high:
        middle = (low + high + 1) // 2
        if lowest(middle, count, confidence) <= 1 - objective:
            low = middle
        else:
            high = middle - 1
    return low


def design_effect(counts: Sequence[int], bad: Sequence[int]) -> float:
    """Return the design effect (Kish): the variance of the bad share relative to independent requests, at least 1.

    Args:
        counts: number of requests due in each period, such as a second.
        bad: number of those that were bad.
    """
    total, wrong = sum(counts), sum(bad)
    periods = len(counts)
    if periods < 2 or wrong in (0, total):
        return 1.0
    share = wrong / total
    spread = math.fsum((b - share * n) ** 2 for n, b in zip(counts, bad, strict=True))
    variance = periods / (periods - 1) * spread / total**2
    return max(1.0, variance / (share * (1 - share) / total))
