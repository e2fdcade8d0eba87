"""The population stability index (PSI) of pictures by bin against a reference, and when it is a drift.

Without drift, the PSI of n independent pictures against a reference of m is distributed as chi2(B-1) * (1/n + 1/m),
where B is the number of bins. Pictures come in bursts that resemble each other, so n is divided by a design effect. A
drift takes a PSI that is large and significant: large alone is noise of few pictures, significant alone is any change
at all of many. The rules of Prometheus compute the same (monitoring/rules/drift.py).
"""

import math
from collections.abc import Sequence

from common.verdicts import Verdict

LARGE = 0.2
DESIGN_EFFECT = 10
"""Near-identical pictures in a row, on average: 10 of them carry the information of one."""
Z = 4.265
"""Normal quantile of a false alarm in 100,000 windows: 8 features in a month's windows raise less than one."""
SMOOTHING = 100
"""Pictures distributed as the reference that are added to each window. Without them, bins that are empty by chance
raise the PSI of 200 pictures in bursts of ten above its critical value in 1 of 70 windows."""
LEAST_SHARE = 0.0005
"""Share that stands for a bin in which the reference has none, so that the logarithm is finite."""


def psi(counts: Sequence[float], reference: Sequence[float]) -> float:
    """Return the PSI of counts by bin against the shares of the reference."""
    total = sum(counts) + SMOOTHING
    smoothed = (count + SMOOTHING * share for count, share in zip(counts, reference, strict=True))
    shares = (max(count / total, LEAST_SHARE) for count in smoothed)
    expected = (max(share, LEAST_SHARE) for share in reference)
    return sum((share - wanted) * math.log(share / wanted) for share, wanted in zip(shares, expected, strict=True))


def critical(bins: int, pictures: float, reference_pictures: float, design_effect: float = DESIGN_EFFECT) -> float:
    """Return the PSI that chance exceeds once in 100,000 windows."""
    return quantile(bins) * (design_effect / pictures + 1 / reference_pictures)


def quantile(bins: int) -> float:
    """Return the quantile of chi2 by Wilson and Hilferty's approximation, within 2 % for 9 degrees of freedom."""
    freedom = bins - 1
    return freedom * (1 - 2 / (9 * freedom) + Z * math.sqrt(2 / (9 * freedom))) ** 3


def least_pictures(bins: int, reference_pictures: float) -> int | None:
    """Return the pictures from which on a PSI that is large is significant; None where the reference is too small."""
    left = LARGE / quantile(bins) - 1 / reference_pictures
    return math.ceil(DESIGN_EFFECT / left) if left > 0 else None


def judge(value: float, bins: int, pictures: float, reference_pictures: float) -> Verdict:
    """Return BREACH for a drift, and PASS for none where the pictures are enough to show a large one."""
    if value > LARGE and pictures > 0 and value > critical(bins, pictures, reference_pictures):
        return Verdict.BREACH
    enough = least_pictures(bins, reference_pictures)
    return Verdict.PASS if enough is not None and pictures >= enough else Verdict.INCONCLUSIVE
