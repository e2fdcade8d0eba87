"""Measured rates by the number of workers or pods, and the verdict: are they within 5 % of a straight line?

The line goes through the origin and the rate of one. More of them than the cores allow are shown and not judged.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from common.verdicts import Verdict
from loadtest.judge.rounds import disagreement, too_few

MAX_DEPARTURE = 0.05


@dataclass(frozen=True, slots=True)
class Point:
    """The rate of so many workers or pods in one round."""

    unit: str
    """workers or pods."""
    count: int
    turn: int
    """Number of the round, from 0."""
    rate: float
    """Answers per second."""
    allowed: bool
    """The cores are enough for so many. Others are not judged."""


def units(points: Sequence[Point]) -> list[str]:
    return sorted({point.unit for point in points}, reverse=True)


def counts(points: Sequence[Point], unit: str) -> list[int]:
    return sorted({point.count for point in points if point.unit == unit})


def rates(points: Sequence[Point], unit: str, count: int) -> dict[int, float]:
    """Return the rates by round."""
    return {point.turn: point.rate for point in points if (point.unit, point.count) == (unit, count)}


def efficiencies(points: Sequence[Point], unit: str, count: int) -> list[float]:
    """Return the rate relative to the straight line, for each round: 1 lies on it."""
    one, many = rates(points, unit, 1), rates(points, unit, count)
    return [many[turn] / (count * one[turn]) for turn in sorted(one.keys() & many.keys())]


def is_allowed(points: Sequence[Point], unit: str, count: int) -> bool:
    return all(point.allowed for point in points if (point.unit, point.count) == (unit, count))


def objections(points: Sequence[Point]) -> list[str]:
    """Return the reasons why the rounds allow no verdict, a sentence each; none where they agree."""
    few = too_few(min((len(rates(points, unit, 1)) for unit in units(points)), default=0))
    if few:
        return [few]
    judged = [(unit, count) for unit in units(points) for count in counts(points, unit)]
    sentences = (
        disagreement(rates(points, unit, count).values(), f"{count} {unit}")
        for unit, count in judged
        if is_allowed(points, unit, count)
    )
    return [sentence for sentence in sentences if sentence]


def straight(points: Sequence[Point], unit: str, count: int) -> bool:
    """Return whether the median over the rounds is within 5 % of the straight line."""
    return round(abs(median(efficiencies(points, unit, count)) - 1), 4) <= MAX_DEPARTURE


def verdict_of(points: Sequence[Point]) -> Verdict:
    """Return PASS where all that the cores allow is within 5 % of the line, INVALID where the rounds do not agree.

    One of each kind alone lies on any line, so without a second one it is INCONCLUSIVE.
    """
    if objections(points):
        return Verdict.INVALID
    judged = [
        straight(points, unit, count)
        for unit in units(points)
        for count in counts(points, unit)
        if count > 1 and is_allowed(points, unit, count)
    ]
    if not judged:
        return Verdict.INCONCLUSIVE
    return Verdict.PASS if all(judged) else Verdict.BREACH


def table(points: Sequence[Point]) -> str:
    """Return the rates, and their share of the straight line, in Markdown: medians, and the range of the rounds."""
    lines = ["| what | answers per second | of a straight line | within 5 % |", "| --- | --- | --- | --- |"]
    for unit in units(points):
        for count in counts(points, unit):
            measured = rates(points, unit, count).values()
            shares = efficiencies(points, unit, count)
            line = f"{median(shares):.3f} ({min(shares):.3f} to {max(shares):.3f})"
            kept = "yes" if straight(points, unit, count) else "no"
            answer = kept if is_allowed(points, unit, count) else "not judged: too few cores"
            name = f"{count} {unit if count > 1 else unit.removesuffix('s')}"
            figures = f"{median(measured):.1f} ({min(measured):.1f} to {max(measured):.1f})"
            lines.append(f"| {name} | {figures} | {line} | {answer if count > 1 else ''} |")
    return "\n".join(lines)
