"""Exact one-sided confidence bounds of a proportion (Clopper and Pearson, Biometrika 26, 1934).

The trials are requests or pictures, and a failure is one that breaks the objective. Requests are not independent: one
stall makes hundreds slow at once. `design_effect` (Kish, Survey Sampling, 1965) estimates from how the failures are
spread over the seconds of a test how many independent requests its sample is worth.
"""

import math
from collections.abc import Sequence
from functools import cache

from common.roots import falling_root


def cdf(failures: int, count: int, probability: float) -> float:
    """Return the probability of at most `failures` in `count` trials that fail with `probability` each."""
    if failures >= count or probability <= 0:
        return 1.0
    if probability >= 1:
        return 0.0
    # Logarithms, since the coefficients of thousands of trials overflow.
    log_factorial, log_p, log_q = math.lgamma(count + 1), math.log(probability), math.log1p(-probability)
    logs = (
        log_factorial - math.lgamma(k + 1) - math.lgamma(count - k + 1) + k * log_p + (count - k) * log_q
        for k in range(failures + 1)
    )
    return min(math.fsum(math.exp(log) for log in logs), 1.0)


def upper_bound(failures: int, count: int, confidence: float) -> float:
    """Return the one-sided upper confidence bound of the probability of failure.

    Args:
        failures: number of trials that failed, at most `count`.
        count: number of independent trials, 1 or more.
        confidence: of this bound alone, from 0 to 1.
    """
    if failures >= count:
        return 1.0
    return falling_root(lambda probability: cdf(failures, count, probability) - (1 - confidence))


def lower_bound(failures: int, count: int, confidence: float) -> float:
    """Return the one-sided lower confidence bound of the probability of failure. Its arguments are upper_bound's."""
    if failures == 0:
        return 0.0
    return falling_root(lambda probability: cdf(failures - 1, count, probability) - confidence)


def provable_objective(count: int, confidence: float, failures: int = 1) -> float:
    """Return the highest objective that `count` trials show to be kept where `failures` of them fail."""
    return 1 - upper_bound(failures, count, confidence)


def min_sample_size(objective: float, confidence: float) -> int:
    """Return the number of trials that show an objective to be kept if none fails: 2,995 for 99.9 % at 95 %.

    Args:
        objective: required share of trials that do not fail, between 0 and 1.
        confidence: required confidence, between 0 and 1.
    """
    return math.ceil(math.log(1 - confidence) / math.log(objective))


@cache
def max_failures_allowed(count: int, objective: float, confidence: float) -> int:
    """Return the largest number of failures in `count` trials that does not show the objective to be broken.

    It is cached, since it takes 0.4 s for thousands of trials and a load test asks every second.
    """
    low, high = 0, count
    while low < high:
        middle = (low + high + 1) // 2
        if lower_bound(middle, count, confidence) <= 1 - objective:
            low = middle
        else:
            high = middle - 1
    return low


def design_effect(counts: Sequence[int], failures: Sequence[int]) -> float:
    """Return the design effect (Kish): variance of the failures' share relative to independent trials, at least 1.

    Args:
        counts: number of trials in each period, such as the requests that were due in a second.
        failures: number of those that failed.
    """
    total, failed = sum(counts), sum(failures)
    periods = len(counts)
    if periods < 2 or failed in (0, total):
        return 1.0
    share = failed / total
    squares = math.fsum((b - share * n) ** 2 for n, b in zip(counts, failures, strict=True))
    variance = periods / (periods - 1) * squares / total**2
    return max(1.0, variance / (share * (1 - share) / total))
