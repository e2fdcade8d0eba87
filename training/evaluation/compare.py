"""Is a new model better than an old one? Figures and a verdict from which pictures each gets right.

Both answer the same pictures, so only those tell them apart that one alone gets right: McNemar's exact test says
whether they differ at all, Tango's score interval by how much: see common/paired.py.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy.stats import t as student

from common.paired import Z, accuracy_difference
from common.verdicts import Verdict
from training.evaluation.metrics import SIGNIFICANT, Bools, Floats, Ints, calibration_error, mcnemar, proportion
from training.evaluation.slices import TRAITS


@dataclass(frozen=True, slots=True)
class Conclusion:
    """The outcome of a comparison, and why."""

    verdict: Verdict
    sentence: str

    @property
    def exit_code(self) -> int:
        return self.verdict.exit_code


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
        "difference": asdict(accuracy_difference(test["only_first"], test["only_second"], count)),
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
    if low > 0 and figures["p"] >= SIGNIFICANT:  # the interval is an approximation, which fails where pictures are few
        return Conclusion(
            Verdict.INCONCLUSIVE,
            f"{measured}: too few pictures, since McNemar's exact test does not confirm it (p = {figures['p']:.2g}).",
        )
    if low > 0:
        return Conclusion(Verdict.PASS, f"{measured}: it is better.")
    if low >= -margin:
        return Conclusion(Verdict.PASS, f"{measured}: it is not worse by more than {margin:g} points.")
    if gap["estimate"] < 0 and figures["p"] < SIGNIFICANT:
        return Conclusion(Verdict.BREACH, f"{measured}: it is worse (McNemar's exact p = {figures['p']:.2g}).")
    needed = pictures_needed(figures, margin)
    more = f" About {needed} test pictures would be enough if both went on so." if needed else ""
    return Conclusion(
        Verdict.INCONCLUSIVE,
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


def calibration(labels: Ints, old: Floats, new: Floats) -> dict[str, Any]:
    """Return log loss and calibration error of both models, and how much more the new one's log loss is.

    The interval of the mean difference is Student's over the pictures: both answered the same ones.

    Args:
        labels: int64 (n,), n >= 1.
        old: probabilities of the old model, (n, classes).
        new: probabilities of the new one.
    """
    rows, count = np.arange(len(labels)), len(labels)
    losses = [-np.log(np.clip(p[rows, labels], 1e-12, 1)) for p in (old, new)]
    gap = losses[1] - losses[0]
    half = float(student.ppf(0.975, count - 1) * gap.std(ddof=1) / math.sqrt(count)) if count > 1 else math.inf
    mean = float(gap.mean())
    return {
        **{
            name: {"log_loss": float(loss.mean()), "ece": calibration_error(labels, p)}
            for name, loss, p in (("old", losses[0], old), ("new", losses[1], new))
        },
        "log_loss_difference": {"estimate": mean, "low": mean - half, "high": mean + half} if count > 1 else None,
    }


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
