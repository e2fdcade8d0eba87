"""Conclusion of a test: its summary, made from what was recorded."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from loadtest.generate.pictures import Pool
from loadtest.generate.recorder import NAMELESS, Collector
from loadtest.generate.shapes import Stage
from loadtest.judge import machine, server
from loadtest.judge.correctness import judge_correctness, listed, models
from loadtest.judge.summary import (
    EXIT_CODES,
    Breakdown,
    Failures,
    Plan,
    Second,
    StagePlan,
    Summary,
    Target,
    Verdict,
)
from loadtest.judge.verdict import invalid, judge, make_rows, overall, whole_seconds
from loadtest.report.words import percent, plain
from loadtest.settings import Settings
from loadtest.slo import Gate

# Counts of the gateway and ours differ by what was under way when it was asked.
PARITY = 0.01


@dataclass(frozen=True, slots=True)
class Seen:
    """Everything that a test knows at its end."""

    settings: Settings
    pool: Pool
    collector: Collector
    start: int
    """Start of the plan, whole seconds since the epoch; 0 where there was no test."""
    ended: float
    finished: bool
    """The plan came to its end."""
    decided: bool
    """It was ended before that, since the verdict was certain."""
    processes: int
    stolen: tuple[float, float]
    """The value of machine.stolen at the start."""
    scrapes: Sequence[server.Scrape | None] = ()
    """Before the first request, and after the last answer."""


def conclude(seen: Seen) -> Summary:
    settings, collector = seen.settings, seen.collector
    stages = settings.stages or [whole(seen)]
    gate = settings.gate or figures(settings)
    rows = make_rows(collector, stages, seen.start, settings.protocols)
    measured = [second for stage in stages if stage.measured for second in whole_seconds(stage, seen.start)]
    findings = judge(collector, settings.objectives, gate, stages, seen.start)
    findings += judge_correctness(collector, measured, gate.confidence, settings.max_models)
    planned = [stage for stage in settings.stages if stage.measured and seen.finished]
    reasons = invalid(rows, settings.objectives, gate, planned)
    if settings.gate and not (seen.finished or seen.decided):
        reasons.append(f"It was stopped after {max(seen.ended - seen.start, 0):.0f} s of {settings.end:.0f}.")
    verdict = overall(findings, reasons)
    if verdict is not Verdict.INVALID:
        reasons += [found.sentence for found in findings if found.verdict is not Verdict.PASS]
    found = breakdown(seen)
    return summary(seen, verdict, reasons, warnings(seen, found), gate).model_copy(
        update={
            "findings": findings,
            "rows": rows,
            "failures": failures(collector, stages, seen.start),
            "server": found,
            "seconds": over_time(seen),
        }
    )


def failures(collector: Collector, stages: Sequence[Stage], start: int) -> list[Failures]:
    """Return the failures in the measured stages, counted by kind, the most frequent first."""
    seconds = {second for stage in stages if stage.measured for second in whole_seconds(stage, start)}
    total: Counter[tuple[str, str]] = Counter()
    for (second, name, what), count in collector.failures.items():
        if second in seconds:
            total[name, what] += count
    return [Failures(name=name, what=what, count=count) for (name, what), count in total.most_common()]


def without_server(seen: Seen, problem: str) -> Summary:
    """Return the summary of a test that did not begin."""
    return summary(seen, Verdict.NOT_READY, [problem], [], seen.settings.gate or figures(seen.settings))


def summary(seen: Seen, verdict: Verdict, reasons: list[str], warned: list[str], gate: Gate) -> Summary:
    settings, options = seen.settings, seen.settings.options
    versions = {model for _, model in seen.collector.models if model != NAMELESS}
    version, sha256 = versions.pop() if len(versions) == 1 else (("several",) * 2 if versions else (None, None))
    return Summary(
        started=datetime.fromtimestamp(seen.start or seen.ended, UTC).isoformat(timespec="seconds"),
        duration=round(max(seen.ended - seen.start, 0), 3) if seen.start else 0.0,
        verdict=verdict,
        exit_code=EXIT_CODES[verdict],
        reasons=reasons,
        warnings=warned,
        git=machine.revision(),
        confidence=gate.confidence,
        target=Target(
            url=settings.address.url,
            grpc=settings.address.grpc if "grpc" in settings.protocols else None,
            metrics=settings.metrics if seen.scrapes and seen.scrapes[0] else None,
            model=settings.address.model,
            version=version,
            sha256=sha256,
        ),
        machine=machine.describe(seen.processes, seen.stolen),
        plan=Plan(
            gate=settings.gate_name,
            shape=gate.shape if settings.gate else "users",
            loop="open" if settings.loop == "open" else "closed",
            protocols=list(settings.protocols),
            stages=[
                StagePlan(
                    name=stage.name,
                    start=stage.start,
                    duration=stage.duration,
                    first_rate=stage.first_rate,
                    last_rate=stage.last_rate,
                    measured=stage.measured,
                )
                for stage in settings.stages
            ],
            seed=options.seed,
            pictures=len(seen.pool.good),
            picture_bytes=seen.pool.mean_bytes,
            pictures_sha256=seen.pool.sha256,
            bad_share=options.bad_share,
        ),
        findings=[],
        rows=[],
        failures=[],
        server=[],
        seconds=[],
    )


def figures(settings: Settings) -> Gate:
    """Return the gate for a test without one: it is judged by what its sample shows."""
    return Gate(
        shape="steady",
        protocols=settings.protocols,  # type: ignore[arg-type]
        rate=1,
        duration=1,
        warmup=0,
        confidence=settings.options.confidence,
        asserts="sample",
        max_dropped=10**9,
        max_lag=1,
    )


def whole(seen: Seen) -> Stage:
    """Return the single stage of a test of --users: from its start to its end, at the rate that there was."""
    length = max(math.floor(seen.ended) - seen.start, 1)
    due = sum(counts["due"] for (second, _), counts in seen.collector.counts.items() if second >= seen.start)
    return Stage("users", 0, length, due / length, due / length)


def breakdown(seen: Seen) -> list[Breakdown]:
    if len(seen.scrapes) != 2:
        return []
    first, last = seen.scrapes
    if first is None or last is None:
        return []
    clients = {}
    for name in seen.collector.names():
        seconds = [second for second, own in seen.collector.counts if own == name]
        total, service = seen.collector.total(name, seconds), seen.collector.merged(name, "service", seconds)
        answered = service.get_total_count()
        mean = service.get_mean_value() / 1e6 if answered else 0.0
        clients[name] = (total["due"] - total["dropped"], mean, answered)
    thresholds = {str(name): latency.threshold for name, latency in seen.settings.objectives.latency.items()}
    return server.breakdown(first, last, clients, thresholds)


def warnings(seen: Seen, parts: list[Breakdown]) -> list[str]:
    warned = []
    stolen = machine.describe(seen.processes, seen.stolen).stolen
    if stolen > 0.05:
        share = percent(round(stolen, 2))
        warned.append(f"Its host gave {share} of this machine's processor time to others meanwhile.")
    if seen.settings.metrics_asked and not parts:
        warned.append(f"{seen.settings.metrics} did not answer, or not as our gateway does: there is no breakdown.")
    for part in parts:
        if abs(part.requests - part.sent) > PARITY * part.sent + 2:
            warned.append(
                f"The gateway counted {part.requests} requests by {part.name}, and {part.sent} were sent: something"
                " else asked it too, or it is one of several."
            )
    if seen.settings.loop == "closed":
        warned.append(
            "The loop is closed: while the server stalls nothing is sent, so its latency looks better than it is."
        )
    every = set(models(seen.collector, [second for second, _ in seen.collector.models]))
    if len(every) > 1:
        warned.append(f"Several models answered: {listed(every)}.")
    return [plain(warning) for warning in warned]


def over_time(seen: Seen) -> list[Second]:
    points = []
    for second, name in sorted(seen.collector.counts):
        counts = seen.collector.total(name, [second])
        times = seen.collector.merged(name, "latency", [second])
        some = times.get_total_count() > 0
        points.append(
            Second(
                time=second - seen.start,
                name=name,
                due=counts["due"],
                failed=counts["failed"] + counts["dropped"],
                p50=times.get_value_at_percentile(50) / 1e6 if some else None,
                p99=times.get_value_at_percentile(99) / 1e6 if some else None,
                max=times.get_max_value() / 1e6 if some else None,
            )
        )
    return points
