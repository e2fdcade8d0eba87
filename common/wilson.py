"""Wilson's score interval of a proportion (E. B. Wilson, Journal of the American Statistical Association 22, 1927)."""

import math
from statistics import NormalDist


def wilson_bounds(successes: int, count: int, confidence: float) -> tuple[float, float]:
    """Return the lower and the upper one-sided confidence bound of the probability of success.

    Args:
        successes: number of trials that succeeded, at most `count`.
        count: number of independent trials, 1 or more.
        confidence: of each bound alone, between 0.5 and 1.
    """
    z = NormalDist().inv_cdf(confidence)
    share = successes / count
    middle = share + z * z / (2 * count)
    width = z * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    whole = 1 + z * z / count
    # At the ends the exact bounds are 0 and 1, which rounding may miss.
    low = 0.0 if successes == 0 else (middle - width) / whole
    high = 1.0 if successes == count else (middle + width) / whole
    return low, high


def trials_needed(share: float, floor: float, confidence: float) -> int | None:
    """Return how many trials show a probability above `floor` where `share` of them succeed; None where none do."""
    if share <= floor:
        return None
    z = NormalDist().inv_cdf(confidence)
    return math.ceil(z * z * floor * (1 - floor) / (share - floor) ** 2)
