"""When each alert would have fired over a stored time: its expression at each evaluation, and how long it must hold."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tests.monitoring.blocks import Range, Stored

DEFAULT_S = 60
UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86400}


@dataclass(frozen=True, slots=True)
class Firing:
    """A time for which an alert fires."""

    alert: str
    severity: str
    labels: tuple[tuple[str, str], ...]
    begin: float
    end: float


def seconds(duration: str) -> int:
    return int(duration[:-1]) * UNITS_S[duration[-1]]


def spans(points: list[tuple[float, float]], step_s: float, lasting_s: float) -> list[tuple[float, float]]:
    """Return the times at which a condition has held for so long: from when it has, to its last point."""
    held: list[tuple[float, float]] = []
    first = last = points[0][0]
    for at, _ in [*points[1:], (float("inf"), 0.0)]:
        if at - last > step_s * 1.5:
            if last - first >= lasting_s:
                held.append((first + lasting_s, last))
            first = at
        last = at
    return held


def fired(prometheus: Stored, rule: Mapping[str, Any], begin: int, end: int, step_s: int) -> list[Firing]:
    """Return when an alert fires, of each set of labels."""
    result: Range = prometheus.range(rule["expr"], begin, end, step_s)
    own = rule["labels"]
    return [
        Firing(rule["alert"], own["severity"], tuple(sorted({**labels, **own}.items())), *span)
        for labels, points in result
        for span in spans(points, step_s, seconds(rule.get("for", "0s")))
    ]


def all_fired(prometheus: Stored, rules: Mapping[str, Any], begin: int, end: int) -> list[Firing]:
    """Return when the alerts of a rule file fire, in the order of time."""
    found = [
        one
        for group in rules["groups"]
        for rule in group["rules"]
        if "alert" in rule
        for one in fired(prometheus, rule, begin, end, seconds(group.get("interval", f"{DEFAULT_S}s")))
    ]
    return sorted(found, key=lambda one: (one.begin, one.alert))
