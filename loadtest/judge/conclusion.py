"""Conclusion of a test: its summary, made from what was recorded."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime

from common.verdicts import Verdict
from loadtest.generate.locust_process import typed
from loadtest.generate.pictures import Pool
from loadtest.generate.recorder import NAMELESS, Collector
from loadtest.generate.shapes import Stage
from loadtest.judge import machine, server
from loadtest.judge.correctness import judge_correctness, listed, models
from loadtest.judge.rows import make_rows, measured_seconds
from loadtest.judge.summary import Breakdown, Failures, Finding, Plan, Row, Second, StagePlan, Summary, Target
from loadtest.judge.verdict import invalid, judge, overall
from loadtest.report.words import percent, plain
from loadtest.settings import Settings
from loadtest.slo import Gate

# The gateway's count and ours differ by the requests that were under way when it was read.
PARITY = 0.01


@dataclass(frozen=True, slots=True)
class Observations:
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
    """The test was ended early, since its verdict was certain."""
    processes: int
    stolen: tuple[float, float]
    """The value of machine.stolen at the start."""
    scrapes: Sequence[server.Scrape | None] = ()
    """Before the first request, and after the last answer."""


def conclude(observed: Observations) -> Summary:
    """Return the summary of a test that ended."""
    settings, collector = observed.settings, observed.collector
    stages = settings.stages or [whole(observed)]
    gate = gate_of(settings)
    rows = make_rows(collector, stages, observed.start, settings.protocols)
    measured = measured_seconds(stages, observed.start)
    findings = judge(collector, settings.objectives, gate, stages, observed.start)
    findings += judge_correctness(collector, measured, gate.confidence, settings.max_models)
    planned = [stage for stage in settings.stages if stage.measured and observed.finished]
    reasons = invalid(rows, settings.objectives, gate, planned)
    if settings.gate and not (observed.finished or observed.decided):
        reasons.append(f"It was stopped after {max(observed.ended - observed.start, 0):.0f} s of {settings.end:.0f}.")
    verdict = overall(findings, reasons)
    if verdict is not Verdict.INVALID:
        reasons += [finding.sentence for finding in findings if finding.verdict is not Verdict.PASS]
    figures = Figures(findings, rows, failures(collector, measured), breakdown(observed), over_time(observed))
    return summary(observed, verdict, reasons, figures, warnings(observed, figures.server))


def without_server(observed: Observations, problem: str) -> Summary:
    """Return the summary of a test that did not begin."""
    return summary(observed, Verdict.NOT_READY, [problem])


@dataclass(frozen=True, slots=True)
class Figures:
    """The measured parts of a summary; empty where there was no test."""

    findings: list[Finding] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    failures: list[Failures] = field(default_factory=list)
    server: list[Breakdown] = field(default_factory=list)
    seconds: list[Second] = field(default_factory=list)


def summary(
    observed: Observations,
    verdict: Verdict,
    reasons: list[str],
    figures: Figures | None = None,
    warned: Sequence[str] = (),
) -> Summary:
    figures = figures or Figures()
    return Summary(
        started=datetime.fromtimestamp(observed.start or observed.ended, UTC).isoformat(timespec="seconds"),
        duration=round(max(observed.ended - observed.start, 0), 3) if observed.start else 0.0,
        verdict=verdict,
        exit_code=verdict.exit_code,
        reasons=reasons,
        warnings=list(warned),
        git=machine.tested_revision(),
        command=typed(),
        confidence=gate_of(observed.settings).confidence,
        target=target(observed),
        machine=machine.describe(observed.processes, observed.stolen),
        plan=plan(observed),
        findings=figures.findings,
        rows=figures.rows,
        failures=figures.failures,
        server=figures.server,
        seconds=figures.seconds,
    )


def target(observed: Observations) -> Target:
    """Return the server that was tested, and the model that answered."""
    address = observed.settings.address
    versions = {model for _, model in observed.collector.models if model != NAMELESS}
    version, sha256 = versions.pop() if len(versions) == 1 else (("several",) * 2 if versions else (None, None))
    return Target(
        url=address.url,
        grpc=address.grpc if "grpc" in observed.settings.protocols else None,
        metrics=observed.settings.metrics if observed.scrapes and observed.scrapes[0] else None,
        model=address.model,
        version=version,
        sha256=sha256,
    )


def plan(observed: Observations) -> Plan:
    """Return what was asked for: stages, protocols and pictures."""
    settings, pool = observed.settings, observed.pool
    return Plan(
        gate=settings.gate_name,
        shape=settings.gate.shape if settings.gate else "users",
        loop="open" if settings.loop == "open" else "closed",
        protocols=list(settings.protocols),
        stages=[StagePlan(**asdict(stage)) for stage in settings.stages],
        seed=settings.options.seed,
        pictures=len(pool.good),
        picture_bytes=pool.mean_bytes,
        pictures_sha256=pool.sha256,
        bad_share=settings.options.bad_share,
    )


def failures(collector: Collector, seconds: Sequence[int]) -> list[Failures]:
    """Return the failures in these seconds, counted by kind, the most frequent first."""
    measured, total = set(seconds), Counter[tuple[str, str]]()
    for (second, name, kind), count in collector.failures.items():
        if second in measured:
            total[name, kind] += count
    return [Failures(name=name, what=kind, count=count) for (name, kind), count in total.most_common()]


def gate_of(settings: Settings) -> Gate:
    """Return the test's gate; for a test without one, a gate that asserts what its sample shows."""
    if settings.gate:
        return settings.gate
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


def whole(observed: Observations) -> Stage:
    """Return the single stage of a test of --users: from its start to its end, at the rate that there was."""
    length = max(math.floor(observed.ended) - observed.start, 1)
    due = sum(counts["due"] for (second, _), counts in observed.collector.counts.items() if second >= observed.start)
    return Stage("users", 0, length, due / length, due / length)


def breakdown(observed: Observations) -> list[Breakdown]:
    """Return the server's own times by protocol; nothing where its metrics are not known."""
    if len(observed.scrapes) != 2:
        return []
    first, last = observed.scrapes
    if first is None or last is None:
        return []
    clients = {}
    for name in observed.collector.names():
        seconds = [second for second, protocol in observed.collector.counts if protocol == name]
        total, service = observed.collector.total(name, seconds), observed.collector.merged(name, "service", seconds)
        answered = service.get_total_count()
        mean = service.get_mean_value() / 1e6 if answered else 0.0
        clients[name] = (total["due"] - total["dropped"], mean, answered)
    thresholds = {str(name): latency.threshold for name, latency in observed.settings.objectives.latency.items()}
    return server.breakdown(first, last, clients, thresholds)


def warnings(observed: Observations, parts: list[Breakdown]) -> list[str]:
    """Return the reasons for caution with the figures."""
    warned = []
    stolen = machine.stolen_share(observed.stolen)
    if stolen > 0.05:
        share = percent(round(stolen, 2))
        warned.append(f"The host gave {share} of this machine's processor time to other machines during the test.")
    if observed.settings.metrics_asked and not parts:
        warned.append(f"{observed.settings.metrics} did not answer, or not as our gateway does: there is no breakdown.")
    for part in parts:
        if abs(part.requests - part.sent) > PARITY * part.sent + 2:
            warned.append(
                f"The gateway counted {part.requests} requests by {part.name}, and {part.sent} were sent: something"
                " else sends it requests too, or it is one of several replicas."
            )
    if observed.settings.loop == "closed":
        warned.append(
            "The loop is closed: while the server stalls, nothing is sent, so its latency looks better than it is."
        )
    answering = set(models(observed.collector, [second for second, _ in observed.collector.models]))
    if len(answering) > 1:
        warned.append(f"Several models answered: {listed(answering)}.")
    return [plain(warning) for warning in warned]


def over_time(observed: Observations) -> list[Second]:
    """Return the figures of each protocol for each second."""
    points = []
    for second, name in sorted(observed.collector.counts):
        counts = observed.collector.total(name, [second])
        times = observed.collector.merged(name, "latency", [second])
        some = times.get_total_count() > 0
        points.append(
            Second(
                time=second - observed.start,
                name=name,
                due=counts["due"],
                failed=counts["failed"] + counts["dropped"],
                p50=times.get_value_at_percentile(50) / 1e6 if some else None,
                p99=times.get_value_at_percentile(99) / 1e6 if some else None,
                max=times.get_max_value() / 1e6 if some else None,
            )
        )
    return points
