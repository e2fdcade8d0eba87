"""The checks that a candidate must pass to become the champion, each with a verdict, a sentence and its figures."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from common.verdicts import WORST_FIRST, Verdict
from training.evaluation.compare import conclude
from training.evaluation.metrics import SIGNIFICANT
from training.registry.latency import Latency


@dataclass(frozen=True, slots=True)
class Limits:
    """The losses with which a candidate may still become the champion."""

    margin: float = 0.5
    """Accuracy in percentage points."""
    log_loss: float = 0.02
    """Mean log loss in nats."""
    slowdown: float = 1.25
    """Time for one picture, as a multiple of the champion's."""
    growth: float = 1.25
    """Size of the archive, as a multiple of the champion's."""


@dataclass(frozen=True, slots=True)
class Check:
    """One judged statement about the candidate."""

    name: str
    verdict: Verdict
    sentence: str
    figures: Mapping[str, Any] = field(default_factory=dict)


def overall(checks: Sequence[Check]) -> Verdict:
    """Return the verdict of all checks together."""
    verdicts = {check.verdict for check in checks}
    return next((verdict for verdict in WORST_FIRST if verdict in verdicts), Verdict.INVALID)


def judge(report: Mapping[str, Any], latency: Latency, sizes: tuple[int, int], limits: Limits) -> list[Check]:
    """Return the checks of a comparison with the champion.

    Args:
        report: of `compare`, with the champion as OLD and the candidate as NEW, on one picture or more.
        sizes: bytes of both archives, the champion's first.
    """
    return [
        accuracy(report, limits.margin),
        slices(report),
        calibration(report["calibration"], limits.log_loss),
        speed(latency, limits.slowdown),
        size(*sizes, limits.growth),
    ]


def accuracy(report: Mapping[str, Any], margin: float) -> Check:
    conclusion = conclude(report["all"], margin)
    sentence = conclusion.sentence.replace("NEW", "the candidate").replace("OLD", "the champion")
    sentence = sentence[0].upper() + sentence[1:]
    return Check("accuracy", conclusion.verdict, sentence, {**report["all"], "margin_points": margin})


def slices(report: Mapping[str, Any]) -> Check:
    """Judge whether a slice is shown to be worse. The p-values are corrected for their number (Bonferroni)."""
    rows = dict(rows_of(report))
    limit = SIGNIFICANT / max(1, len(rows))
    worse = {name: row for name, row in rows.items() if row["only_old"] > row["only_new"] and row["p"] < limit}
    counted = f"{len(rows)} slices by class, source, size, brightness and sharpness"
    if worse:
        name, row = min(worse.items(), key=lambda item: item[1]["p"])
        return Check(
            "slices",
            Verdict.BREACH,
            f"The candidate is worse in {len(worse)} of {counted}. In {name}, {row['only_old']} of {row['count']} "
            f"pictures are right by the champion alone, {row['only_new']} by the candidate alone "
            f"(McNemar's exact p = {row['p']:.2g}; below {limit:.2g} counts).",
            rows,
        )
    return Check("slices", Verdict.PASS, f"No slice is shown to be worse, of {counted}.", rows)


def rows_of(report: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the slices of a comparison by name."""
    for kind in ("by_class", "by_source"):
        for name, row in report[kind].items():
            if len(report[kind]) > 1:
                yield f"{kind.removeprefix('by_')} {name}", row
    for trait, some in report["by_trait"].items():
        for name, row in some["slices"].items():
            if len(some["slices"]) > 1:
                yield f"{trait} {name}", row


def calibration(figures: Mapping[str, Any], allowed: float) -> Check:
    """Judge by the log loss, a proper score: it rises where probabilities no longer mean what they say."""
    gap, old, new = figures["log_loss_difference"], figures["old"], figures["new"]
    told = {**figures, "allowed": allowed}
    if gap is None:
        return Check("calibration", Verdict.INCONCLUSIVE, "One picture does not tell about the calibration.", told)
    measured = (
        f"The log loss is {new['log_loss']:.4f}, the champion's {old['log_loss']:.4f}: {gap['estimate']:+.4f} "
        f"(95 % interval {gap['low']:+.4f} to {gap['high']:+.4f}; {allowed:g} more are allowed). The calibration "
        f"error is {new['ece']:.4f}, the champion's {old['ece']:.4f}."
    )
    if gap["low"] > allowed:
        return Check("calibration", Verdict.BREACH, measured, told)
    passed = gap["high"] <= allowed or gap["estimate"] <= 0
    return Check("calibration", Verdict.PASS if passed else Verdict.INCONCLUSIVE, measured, told)


def speed(latency: Latency, allowed: float) -> Check:
    measured = (
        f"One picture takes {latency.new_ms:.2f} ms, the champion's {latency.old_ms:.2f} ms: {latency.ratio:.2f} times "
        f"as long (95 % interval {latency.low:.2f} to {latency.high:.2f}; {allowed:g} are allowed)."
    )
    figures = {**asdict(latency), "allowed": allowed}
    if latency.low > allowed:
        return Check("latency", Verdict.BREACH, measured, figures)
    return Check("latency", Verdict.PASS if latency.high <= allowed else Verdict.INCONCLUSIVE, measured, figures)


def size(old: int, new: int, allowed: float) -> Check:
    verdict = Verdict.PASS if new <= allowed * old else Verdict.BREACH
    return Check(
        "size",
        verdict,
        f"The archive has {new / 1e6:.1f} MB, the champion's {old / 1e6:.1f} MB ({allowed:g} times as much is "
        "allowed).",
        {"old_bytes": old, "new_bytes": new, "allowed": allowed},
    )
