"""A load test's summary as a real one would be, from latencies that are drawn with a seed."""

import math
import random
from collections import defaultdict
from dataclasses import asdict, dataclass, field
from typing import Any

from hdrh.histogram import HdrHistogram

from common.binomial import lower_bound, provable_objective, upper_bound
from common.verdicts import Verdict
from loadtest.generate.shapes import Stage, stages
from loadtest.judge.summary import (
    Breakdown,
    Failures,
    Finding,
    Machine,
    Plan,
    Quantiles,
    Row,
    Second,
    StagePlan,
    Summary,
    Target,
)

CONFIDENCE = 0.95
THRESHOLD = 0.25
OBJECTIVES = {"latency": 0.99, "availability": 0.999}
MEDIANS = {"rest": 0.042, "multipart": 0.046, "kserve": 0.06, "grpc": 0.03}
STALL = (41.0, 42.5)
"""Seconds in which nothing was sent."""


@dataclass(frozen=True, slots=True)
class Request:
    protocol: str
    stage: str
    due: float
    lag: float
    service: float
    failed: bool

    @property
    def latency(self) -> float:
        return self.lag + self.service


def draw(plan: list[Stage], protocols: list[str], seed: int, slower: float, failing: float) -> list[Request]:
    rng = random.Random(seed)
    requests = []
    for stage in plan:
        for protocol in protocols:
            time = stage.start
            while (time := time + rng.expovariate(stage.first_rate / len(protocols))) < stage.end:
                # A queue: what arrives closer to what the server can do waits longer.
                load = stage.first_rate / 110
                service = slower * MEDIANS[protocol] * math.exp(rng.gauss(0, 0.22 + 0.35 * load)) / (1 - 0.6 * load)
                lag = 0.0004 * rng.expovariate(1)
                if STALL[0] <= time < STALL[1]:
                    lag += STALL[1] - time
                requests.append(Request(protocol, stage.name, time, lag, service, rng.random() < failing))
    return sorted(requests, key=lambda request: request.due)


def quantiles(values: list[float]) -> Quantiles | None:
    if not values:
        return None
    histogram = HdrHistogram(1, 120_000_000, 3)
    for value in values:
        histogram.record_value(max(1, round(value * 1e6)))
    shares = {"p50": 50, "p90": 90, "p95": 95, "p99": 99, "p999": 99.9}
    return Quantiles(
        mean=sum(values) / len(values),
        max=max(values),
        histogram=histogram.encode().decode(),
        **{name: histogram.get_value_at_percentile(share) / 1e6 for name, share in shares.items()},
    )


def row(requests: list[Request], stage: str, protocol: str, asked: float, span: float, measured: bool = True) -> Row:
    answered = [request for request in requests if not request.failed]
    return Row(
        stage=stage,
        name=protocol,
        measured=measured,
        asked_rate=asked,
        due=len(requests),
        dropped=0,
        answered=len(answered),
        failed=len(requests) - len(answered),
        slow=sum(request.latency > THRESHOLD for request in answered),
        labelled=len(answered),
        mistaken=len(answered) // 100,
        due_rate=len(requests) / span,
        answered_rate=len(answered) / span,
        latency=quantiles([request.latency for request in answered]),
        service=quantiles([request.service for request in answered]),
        lag=quantiles([request.lag for request in requests]),
    )


def finding(name: str, objective: float, threshold: float | None, count: int, bad: int, sample: bool) -> Finding:
    low, high = lower_bound(bad, count, CONFIDENCE), upper_bound(bad, count, CONFIDENCE)
    asserted = min(objective, provable_objective(count, CONFIDENCE)) if sample and count else objective
    allowed = 1 - asserted
    verdict = Verdict.BREACH if low > allowed else Verdict.PASS if high <= allowed else Verdict.INCONCLUSIVE
    return Finding(
        name=name,
        stage="all",
        objective=objective,
        asserted=asserted,
        threshold=threshold,
        count=count,
        bad=bad,
        bad_low=low,
        bad_high=high,
        design_effect=1.8 if bad else 1.0,
        verdict=verdict,
        sentence=f"{name}: {bad} of {count} requests were bad, of which {allowed:.2%} may be.",
    )


def seconds(requests: list[Request], end: float, protocols: list[str]) -> list[Second]:
    by_second: dict[tuple[int, str], list[Request]] = defaultdict(list)
    for request in requests:
        by_second[int(request.due), request.protocol].append(request)
    points = []
    for time in range(math.ceil(end)):
        for protocol in protocols:
            due = by_second[time, protocol]
            latencies = sorted(request.latency for request in due if not request.failed)
            points.append(
                Second(
                    time=time,
                    name=protocol,
                    due=len(due),
                    failed=len(due) - len(latencies),
                    p50=latencies[len(latencies) // 2] if latencies else None,
                    p99=latencies[int(0.99 * len(latencies))] if latencies else None,
                    max=latencies[-1] if latencies else None,
                )
            )
    return points


@dataclass
class Figures:
    """The measured parts of a summary."""

    rows: list[Row] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    failures: list[Failures] = field(default_factory=list)
    server: list[Breakdown] = field(default_factory=list)

    def add(self, protocol: str, requests: list[Request], plan: list[Stage], protocols: int, sample: bool) -> None:
        """Add the figures of one protocol.

        Args:
            requests: those of this protocol.
            protocols: number of protocols that share the rate.
            sample: assert what the sample can show.
        """
        measured = [request for request in requests if request.stage != "warm-up"]
        for stage in plan:
            in_stage = [request for request in requests if request.stage == stage.name]
            rate = stage.first_rate / protocols
            self.rows.append(row(in_stage, stage.name, protocol, rate, stage.duration, stage.measured))
        duration = sum(stage.duration for stage in plan if stage.measured)
        planned = sum(stage.requests for stage in plan if stage.measured)
        total = row(measured, "all", protocol, planned / duration / protocols, duration)
        self.rows.append(total)
        late, failed = total.slow + total.failed, total.failed
        for name, threshold, bad in (("latency", THRESHOLD, late), ("availability", None, failed)):
            self.findings.append(finding(f"{protocol} {name}", OBJECTIVES[name], threshold, total.due, bad, sample))
        if total.failed:
            self.failures.append(Failures(name=protocol, what="503 overloaded", count=total.failed))
        if total.service:
            self.server.append(breakdown(protocol, measured, total.service.mean))

    def verdict(self) -> Verdict:
        order = [Verdict.BREACH, Verdict.INCONCLUSIVE, Verdict.PASS]
        return min((judged.verdict for judged in self.findings), key=order.index)


def breakdown(protocol: str, measured: list[Request], client: float) -> Breakdown:
    """Return the server's own times, as parts of the clients' mean."""
    return Breakdown(
        name=protocol,
        requests=len(measured),
        sent=len(measured),
        gateway=None if protocol == "grpc" else 0.94 * client,
        queue=0.31 * client,
        handler=0.52 * client,
        client=client,
        within_threshold=sum(request.service <= THRESHOLD for request in measured) / len(measured),
    )


TARGET = Target(
    url="http://127.0.0.1:8080",
    grpc="127.0.0.1:7070",
    metrics="http://127.0.0.1:8082/metrics",
    model="catsdogs",
    version="0.2.0",
    sha256="9f2c" * 16,
)
MACHINE = Machine(
    processors=2,
    processor="Intel(R) Xeon(R) Processor @ 2.60GHz",
    memory_bytes=8_200_000_000,
    python="3.11.7",
    locust="2.47.0",
    processes=1,
    stolen=0.012,
)


def plan_of(stages: list[Stage], protocols: list[str], seed: int) -> Plan:
    return Plan(
        gate="release",
        shape="staircase",
        loop="open",
        protocols=protocols,
        stages=[StagePlan(**asdict(stage)) for stage in stages],
        seed=seed,
        pictures=200,
        picture_bytes=41_300,
        pictures_sha256="ab12" * 16,
        bad_share=0.0,
    )


def build(
    seed: int = 1,
    slower: float = 1.0,
    failing: float = 0.0005,
    rate: float = 80,
    duration: float = 60,
    protocols: tuple[str, ...] = ("rest", "grpc"),
    sample: bool = False,
    verdict: Verdict | None = None,
    **changed: Any,
) -> Summary:
    """Return the summary of a staircase to `rate` after ten seconds of warm-up.

    Args:
        slower: times as slow as usual.
        failing: the share of requests that fail.
        sample: asserts what the sample can show.
        verdict: another one than the findings'.
        changed: fields of the summary.
    """
    names = list(protocols)
    plan = stages("staircase", rate, duration, warmup=10)
    requests = draw(plan, names, seed, slower, failing)
    figures = Figures()
    for name in names:
        figures.add(name, [request for request in requests if request.protocol == name], plan, len(names), sample)
    judged = verdict or figures.verdict()
    fields: dict[str, Any] = {
        "started": "2026-11-22T11:28:55+00:00",
        "duration": duration + 10.4,
        "verdict": judged,
        "exit_code": judged.exit_code,
        "reasons": [finding.sentence for finding in figures.findings if finding.verdict is not Verdict.PASS],
        "warnings": ["The generator ran on the machine of the server, which takes processor time from it."],
        "command": "catsdogs loadtest --shape staircase --rate 80 --duration 60s --protocol rest --protocol grpc",
        "git": "4d34f992b5c58998a8b6913b1d82575e7ffe3919-dirty",
        "confidence": CONFIDENCE,
        "target": TARGET,
        "machine": MACHINE,
        "plan": plan_of(plan, names, seed),
        "findings": figures.findings,
        "rows": figures.rows,
        "failures": figures.failures,
        "server": figures.server,
        "seconds": seconds(requests, duration + 10, names),
    }
    return Summary(**{**fields, **changed})
