"""Comparison of two classifiers on the same pictures.

Only discordant pairs, pictures that one classifier alone gets right, tell the two apart. McNemar's exact test shows
whether the two differ (Q. McNemar, Psychometrika 12, 1947), and Tango's score interval by how much (T. Tango,
Statistics in Medicine 17, 1998).
"""

import math
from dataclasses import dataclass
from statistics import NormalDist

from common.binomial import lower_bound, upper_bound
from common.roots import falling_root

Z = NormalDist().inv_cdf(0.975)
"""Quantile of the standard normal distribution for two-sided 95 %."""


def mcnemar_p_value(only_first: int, only_second: int) -> float:
    """Return the two-sided p-value of McNemar's exact test; 1 where there is no discordant pair.

    Args:
        only_first: pictures that the first classifier alone gets right.
        only_second: pictures that the second one alone gets right.
    """
    discordant = only_first + only_second
    # Each binomial coefficient from the one before it: thousands of pairs take milliseconds rather than seconds.
    tail = coefficient = 1
    for k in range(min(only_first, only_second)):
        coefficient = coefficient * (discordant - k) // (k + 1)
        tail += coefficient
    return min(1.0, 2 * tail / (1 << discordant))


@dataclass(frozen=True, slots=True)
class Difference:
    """A difference of two accuracies, from -1 to 1, with its two-sided 95 % interval."""

    estimate: float
    low: float
    high: float


def accuracy_difference(only_old: int, only_new: int, count: int) -> Difference:
    """Return the new classifier's accuracy minus the old one's, with Tango's 95 % interval.

    Args:
        only_old: pictures that the old classifier alone gets right.
        only_new: pictures that the new classifier alone gets right.
        count: pictures in all, 1 or more.
    """
    estimate = (only_new - only_old) / count

    def score(delta: float) -> float:
        """Return how many standard errors the observed difference is above `delta`."""
        a = 2 * count
        b = -only_new - only_old + (2 * count - only_new + only_old) * delta
        c = -only_old * delta * (1 - delta)
        only_old_share = (math.sqrt(max(0.0, b * b - 4 * a * c)) - b) / (2 * a)
        variance = count * (2 * only_old_share + delta * (1 - delta))
        distance = only_new - only_old - count * delta
        if abs(distance) < 1e-9:
            return 0.0
        return distance / math.sqrt(variance) if variance > 0 else math.copysign(math.inf, distance)

    # The score is not defined at the very ends.
    tiny = 1e-12
    low = -1.0 if estimate <= -1 + tiny else falling_root(lambda delta: score(delta) - Z, -1 + tiny, estimate)
    high = 1.0 if estimate >= 1 - tiny else falling_root(lambda delta: score(delta) + Z, estimate, 1 - tiny)
    return Difference(estimate, low, high)


def loss_bounds(only_old: int, only_new: int, count: int, confidence: float) -> tuple[float, float]:
    """Return the lower and the upper one-sided confidence bound of the accuracy that the new classifier loses.

    The loss is the share of discordant pictures, times how much more often the old classifier is the right one there.
    Both factors get an exact bound (Clopper and Pearson) that is wrong half as often as allowed, so their product holds
    with the confidence, whatever the true shares are. A bound of 0 says that no loss, or no gain, is shown.

    Args:
        only_old: pictures that the old classifier alone gets right.
        only_new: pictures that the new classifier alone gets right.
        count: pictures in all, 1 or more.
        confidence: of each bound alone, from 0 to 1.
    """
    discordant, each = only_old + only_new, (1 + confidence) / 2
    if discordant == 0:
        return 0.0, upper_bound(0, count, each)
    low = (2 * lower_bound(only_old, discordant, each) - 1) * lower_bound(discordant, count, each)
    high = (2 * upper_bound(only_old, discordant, each) - 1) * upper_bound(discordant, count, each)
    return max(0.0, low), max(0.0, high)
