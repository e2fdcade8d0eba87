"""Reports of a load test for programs, people and CI: summary.json, report.html and junit.xml."""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from handler.files import write_atomic
from loadtest.judge.summary import Breakdown, Finding, Row, Second, Summary
from loadtest.report.compare import Comparison, cells, compare
from loadtest.report.headline import advice, headline
from loadtest.report.junit import title, to_junit
from loadtest.report.page import render
from loadtest.report.plots import draw_percentiles, draw_times, filled, seconds_per_point
from loadtest.report.words import verdict_of, weaker

# Columns of summary.json: people read it too, so values that fit into one line share it.
FITS = 160


def write(summary: Summary, folder: Path, old: Summary | None = None) -> None:
    """
    Args:
        folder: made where it is missing.
        old: an earlier one, which the page compares it with.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_atomic(folder / "summary.json", folded(json.loads(summary.model_dump_json())).encode() + b"\n")
    write_atomic(folder / "junit.xml", to_junit(summary))
    write_atomic(folder / "report.html", to_html(summary, compare(old, summary) if old else None).encode())


def folded(value: Any, depth: int = 0) -> str:
    """Return JSON in which each line holds as much as fits."""
    line = json.dumps(value, ensure_ascii=False)
    if not isinstance(value, dict | list) or not value or (depth and len(line) <= FITS):
        return line
    inner = "\n" + " " * (depth + 1)
    if isinstance(value, dict):
        parts = [f"{json.dumps(key)}: {folded(part, depth + 1)}" for key, part in value.items()]
    else:
        parts = [folded(part, depth + 1) for part in value]
    left, right = "{}" if isinstance(value, dict) else "[]"
    return f"{left}{inner}{f',{inner}'.join(parts)}{inner[:-1]}{right}"


@dataclass(frozen=True, slots=True)
class Interval:
    """The confidence interval of the bad share, and its limit, as percentages of a small scale's width."""

    left: float
    width: float
    limit: float

    @classmethod
    def of(cls, finding: Finding) -> "Interval":
        allowed = 1 - finding.asserted
        end = 1.15 * max(finding.bad_high, 1.5 * allowed)
        # A square root, since the allowed share is often a hundredth of the observed one.
        left, right, limit = (100 * math.sqrt(share / end) for share in (finding.bad_low, finding.bad_high, allowed))
        return cls(left, right - left, limit)


def to_html(summary: Summary, compared: Comparison | None = None) -> str:
    totals = [row for row in summary.rows if row.stage == "all"]
    names = list(dict.fromkeys(row.name for row in summary.rows))
    measured = [stage for stage in summary.plan.stages if stage.measured]
    return render(
        "report.html",
        summary=summary,
        headline=headline(summary),
        advice=advice(summary),
        findings=[
            (finding, title(finding), verdict_of(finding, summary), Interval.of(finding))
            for finding in summary.findings
        ],
        any_weaker=any(weaker(finding) for finding in summary.findings),
        totals=totals,
        by_name=[(name, [row for row in summary.rows if row.name == name and row.stage != "all"]) for name in names],
        total_of={row.name: row for row in totals},
        due=sum(row.due for row in totals),
        answered=sum(row.answered for row in totals),
        top_rate=max((max(stage.first_rate, stage.last_rate) for stage in measured), default=None),
        percentiles=percentiles(summary, totals),
        over_time=over_time(summary),
        per_point=max((seconds_per_point(filled(part)) for part in by_protocol(summary).values()), default=1),
        server=[(part, segments(part)) for part in summary.server],
        compared=compared,
        changes=[(change, cells(change)) for change in compared.changes] if compared else [],
    )


def percentiles(summary: Summary, totals: list[Row]) -> list[tuple[str, Markup]]:
    answered = [(number, row) for number, row in enumerate(totals) if row.latency is not None]
    return [(row.name, draw_percentiles(row, latency_of(summary, row.name), f"p{number}")) for number, row in answered]


def over_time(summary: Summary) -> list[tuple[str, Markup]]:
    plots = []
    for number, name in enumerate(by_protocol(summary)):
        finding = latency_of(summary, name)
        plots.append((name, draw_times(summary, name, finding.threshold if finding else None, f"t{number}")))
    return plots


def by_protocol(summary: Summary) -> dict[str, list[Second]]:
    seconds: dict[str, list[Second]] = {}
    for second in summary.seconds:
        seconds.setdefault(second.name, []).append(second)
    return seconds


def latency_of(summary: Summary, name: str) -> Finding | None:
    """The finding that has the protocol's threshold."""
    findings = [
        finding for finding in summary.findings if finding.name == f"{name} latency" and finding.threshold is not None
    ]
    return min(findings, key=lambda finding: finding.stage != "all", default=None)


def segments(part: Breakdown) -> list[tuple[str, str, float]]:
    """The mean request's time by where it was spent: a class, a name and seconds."""
    queue, handler = part.queue or 0.0, part.handler or 0.0
    # Two clocks are compared, so a difference may be slightly negative.
    if part.gateway is None:
        rest = [("network", "gateway and network", max(0.0, part.client - queue - handler))]
    else:
        rest = [
            ("gateway", "gateway, upload among it", max(0.0, part.gateway - queue - handler)),
            ("network", "network and client", max(0.0, part.client - part.gateway)),
        ]
    known = [("queue", "waiting for a worker", part.queue), ("handler", "in the worker", part.handler)]
    return [(kind, name, seconds) for kind, name, seconds in known if seconds is not None] + rest
