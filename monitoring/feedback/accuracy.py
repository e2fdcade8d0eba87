"""Accuracy over time by model version, among the pictures that users gave feedback on."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from common.review_csv import OTHER
from common.verdicts import Verdict
from common.wilson import trials_needed, wilson_bounds
from monitoring.feedback.record import Record
from monitoring.feedback.records import conflicts

CAVEAT = (
    "Users report wrong predictions more often than correct ones, so these figures are lower estimates of the "
    "accuracy. Compare versions only if users of both give feedback in the same way."
)
TWO_SIDED = 0.975
"""Confidence of each bound of a 95 % interval."""
EVERYTHING = "all"


@dataclass(frozen=True, slots=True)
class Figure:
    """The accuracy of a version in a period: how many of `count` pictures are right, with a 95 % interval (Wilson)."""

    period: str
    version: str
    right: int
    count: int

    @property
    def share(self) -> float:
        return self.right / self.count

    @property
    def interval(self) -> tuple[float, float]:
        return wilson_bounds(self.right, self.count, TWO_SIDED)

    def document(self) -> dict[str, Any]:
        low, high = self.interval
        return {**asdict(self), "accuracy": self.share, "low": low, "high": high}


@dataclass(frozen=True, slots=True)
class Accuracy:
    """The figures by period and version, and what they leave out.

    Attributes:
        versions: figures of all time, the version used last at the end.
        left_out: records that are not counted, by the reason.
    """

    by: str
    reviewed: bool
    records: int
    figures: list[Figure]
    versions: list[Figure]
    left_out: dict[str, int]

    def document(self) -> dict[str, Any]:
        """Return the values as JSON has them."""
        return {
            "caveat": CAVEAT,
            "by": self.by,
            "reviewed": self.reviewed,
            "records": self.records,
            "left_out": self.left_out,
            "versions": [figure.document() for figure in self.versions],
            "periods": [figure.document() for figure in self.figures],
        }


def accuracy(records: Sequence[Record], by: str, truths: Mapping[tuple[str, str], str] | None = None) -> Accuracy:
    """Return the accuracy of each version in each period.

    A picture counts once for each version, at its first prediction: the same model gives it the same answer, and a
    user may press the button often.

    Args:
        by: "day" or "week" of the prediction, in UTC.
        truths: label after review, by id and sha256 of the record; None takes the labels as users gave them.
    """
    left_out = {"not accepted in the review": 0, "several labels": 0, "other": 0, "same picture again": 0}
    names = _names(records)
    differing = conflicts(list(records)) if truths is None else {}
    counts: dict[tuple[str, str], list[bool]] = {}
    last: dict[str, Any] = {}
    seen: set[tuple[str, str]] = set()
    for record in sorted(records, key=lambda record: (record.predicted_at, record.id)):
        truth = record.label if truths is None else truths.get((record.id, record.sha256))
        version = names[record.model.version, record.model.sha256]
        last[version] = record.predicted_at
        reason = ""
        if truth is None:
            reason = "not accepted in the review"
        elif record.sha256 in differing:
            reason = "several labels"
        elif truth == OTHER:
            reason = "other"
        elif (version, record.sha256) in seen:
            reason = "same picture again"
        if reason:
            left_out[reason] += 1
            continue
        seen.add((version, record.sha256))
        counts.setdefault((_period(record, by), version), []).append(record.predicted == truth)
    figures = [Figure(period, version, sum(right), len(right)) for (period, version), right in sorted(counts.items())]
    return Accuracy(
        by,
        truths is not None,
        len(records),
        figures,
        [
            _sum(figures, version)
            for version in sorted(last, key=lambda name: (last[name], name))
            if version in {f.version for f in figures}
        ],
        left_out,
    )


def _names(records: Sequence[Record]) -> dict[tuple[str, str], str]:
    """Return what to call each model: its version, with the start of its sha256 where two have the same one."""
    models = {(record.model.version, record.model.sha256) for record in records}
    versions = [version for version, _ in models]
    return {
        (version, sha256): version if versions.count(version) == 1 else f"{version} ({sha256[:8]})"
        for version, sha256 in models
    }


def _period(record: Record, by: str) -> str:
    if by == "day":
        return record.predicted_at.date().isoformat()
    year, week, _ = record.predicted_at.isocalendar()
    return f"{year}-W{week:02}"


def _sum(figures: Sequence[Figure], version: str) -> Figure:
    mine = [figure for figure in figures if figure.version == version]
    return Figure(EVERYTHING, version, sum(f.right for f in mine), sum(f.count for f in mine))


class Judgement(NamedTuple):
    """A verdict and the sentence that explains it."""

    verdict: Verdict
    sentence: str


def judge(result: Accuracy, floor: float, confidence: float, version: str | None = None) -> Judgement:
    """Judge the accuracy of a version, by default of the one used last.

    The figure is a lower estimate: PASS can be trusted, and BREACH says that users are shown many mistakes.
    """
    chosen = next((figure for figure in reversed(result.versions) if version in (None, figure.version)), None)
    if chosen is None:
        what = f"for version {version}" if version else "that counts"
        return Judgement(Verdict.INCONCLUSIVE, f"There is no feedback {what}.")
    low, high = wilson_bounds(chosen.right, chosen.count, confidence)
    observed = f"version {chosen.version}: {chosen.right} of {chosen.count} predictions with feedback are correct"
    at_confidence = f"at {100 * confidence:g} % confidence"
    if low >= floor:
        sentence = f"{observed}: at least {low:.3f} {at_confidence}, and the minimum is {floor:g}."
        return Judgement(Verdict.PASS, sentence)
    if high < floor:
        sentence = f"{observed}: at most {high:.3f} {at_confidence}, and the minimum is {floor:g}."
        return Judgement(Verdict.BREACH, sentence)
    needed = trials_needed(chosen.share, floor, confidence)
    more = f" At this accuracy, {needed} pictures would be enough to show it." if needed else ""
    sentence = f"{observed}: {low:.3f} to {high:.3f} {at_confidence} each, and the minimum is {floor:g}.{more}"
    return Judgement(Verdict.INCONCLUSIVE, sentence)
