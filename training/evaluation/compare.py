"""Is a new model better than an old one? Figures and a verdict from which pictures each gets right.

Both answer the same pictures, so only those tell them apart that one alone gets right: McNemar's exact test says
whether they differ at all, Tango's score interval by how much (T. Tango, Statistics in Medicine 17, 1998).
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy.optimize import brentq
from scipy.stats import norm

from common import verdicts
from training.evaluation.metrics import SIGNIFICANT, Bools, Floats, Ints, mcnemar, proportion
from training.evaluation.slices import TRAITS

# Two-sided 95 %.
Z = float(norm.ppf(0.975))
CODES = {
    "PASS": verdicts.PASS,
    "BREACH": verdicts.BREACH,
    "INCONCLUSIVE": verdicts.INCONCLUSIVE,
    "INVALID": verdicts.INVALID,
}


@dataclass(frozen=True, slots=True)
class Conclusion:
    """The outcome of a comparison, one of CODES, and why."""

    verdict: str
    sentence: str

    @property
    def exit_code(self) -> int:
        return CODES[self.verdict]


def difference(only_old: int, only_new: int, count: int) -> dict[str, float]:
    """Return the new model's accuracy minus the old one's, with Tango's 95 % interval.

    Args:
        only_old: pictures that the old model alone gets right.
        only_new: pictures that the new model alone gets right.
        count: pictures in all, 1 or more.
    """
    estimate = (only_new - only_old) / count

    def score(delta: float) -> float:
        """Return how many standard errors the observed difference is above `delta`."""
        a = 2 * count
        b = -only_new - only_old + (2 * count - only_new + only_old) * delta
        c = -only_old * delta * (1 - delta)
        worse = (math.sqrt(max(0.0, b * b - 4 * a * c)) - b) / (2 * a)
        variance = count * (2 * worse + delta * (1 - delta))
        distance = only_new - only_old - count * delta
        if abs(distance) < 1e-9:
            return 0.0
        return distance / math.sqrt(variance) if variance > 0 else math.copysign(math.inf, distance)

    tiny = 1e-12
    low = -1.0 if estimate <= -1 + tiny else _root(lambda delta: score(delta) - Z, -1 + tiny, estimate)
    high = 1.0 if estimate >= 1 - tiny else _root(lambda delta: score(delta) + Z, estimate, 1 - tiny)
    return {"estimate": estimate, "low": low, "high": high}


def _root(function: Any, low: float, high: float) -> float:
    """Return where a falling function is zero, or the end where it does not change its sign in between."""
    first, last = function(low), function(high)
    if first <= 0:
        return low
    if last >= 0:
        return high
    return float(brentq(lambda x: max(-1e9, min(1e9, function(x))), low, high, xtol=1e-10))


def pair(old_right: Bools, new_right: Bools) -> dict[str, Any]:
    """Return the figures of both models on the same pictures, one or more: which each gets right, (n,)."""
    test = mcnemar(old_right, new_right)
    count = len(old_right)
    return {
        "count": count,
        "old": asdict(proportion(int(old_right.sum()), count)),
        "new": asdict(proportion(int(new_right.sum()), count)),
        "only_old": test["only_first"],
        "only_new": test["only_second"],
        "p": test["p"],
        "difference": difference(test["only_first"], test["only_second"], count),
    }


def conclude(figures: Mapping[str, Any], margin: float) -> Conclusion:
    """Return the verdict on the figures of `pair`.

    PASS: the new model is shown to be not worse by more than the margin, or to be better. BREACH: it is shown to be
    worse, and not to be within the margin. INCONCLUSIVE: there are too few pictures to show either.

    Args:
        margin: the accuracy that the new model may lose, in percentage points.
    """
    gap = figures["difference"]
    points, low, high = (100 * gap[key] for key in ("estimate", "low", "high"))
    measured = f"NEW is {points:+.2f} points from OLD (95 % interval {low:+.2f} to {high:+.2f}, n = {figures['count']})"
    if low > 0:
        return Conclusion("PASS", f"{measured}: it is better.")
    if low >= -margin:
        return Conclusion("PASS", f"{measured}: it is not worse by more than {margin:g} points.")
    if gap["estimate"] < 0 and figures["p"] < SIGNIFICANT:
        return Conclusion("BREACH", f"{measured}: it is worse (McNemar's exact p = {figures['p']:.2g}).")
    needed = pictures_needed(figures, margin)
    more = f" About {needed} test pictures would be enough if both went on so." if needed else ""
    return Conclusion(
        "INCONCLUSIVE",
        f"{measured}: too few pictures to tell whether it is worse by more than {margin:g} points.{more}",
    )


def pictures_needed(figures: Mapping[str, Any], margin: float) -> int | None:
    """Return how many pictures would show that the new model is within the margin, were the shares to stay."""
    estimate: float = figures["difference"]["estimate"]
    room = margin / 100 + estimate
    if room <= 0:
        return None
    share: float = max(1, figures["only_old"] + figures["only_new"]) / figures["count"]
    spread = share - estimate**2
    return max(math.ceil(Z**2 * spread / room**2), math.ceil(Z**2 * (1 - room) / room))


def by_domain(domains: Mapping[str, Ints], old_right: Bools, new_right: Bools) -> dict[str, Any]:
    """Return the figures of each set of pictures: classes, or sources. Sets without a picture are left out.

    Args:
        domains: indices by name.
    """
    return {name: pair(old_right[rows], new_right[rows]) for name, rows in domains.items() if len(rows)}


def by_trait(traits: Mapping[str, Floats], old_right: Bools, new_right: Bools) -> dict[str, Any]:
    """Return the figures of each third by size, brightness and sharpness; where all are equal there is one slice."""
    sliced: dict[str, Any] = {}
    for trait, (unit, names) in TRAITS.items():
        bounds = np.quantile(traits[trait], [1 / 3, 2 / 3], method="inverted_cdf")
        third = np.searchsorted(bounds, traits[trait], side="left")
        occupied = np.unique(third)
        rows = {names[n] if len(occupied) > 1 else "all": np.flatnonzero(third == n) for n in occupied}
        sliced[trait] = {"unit": unit, "slices": by_domain(rows, old_right, new_right)}
    return sliced
