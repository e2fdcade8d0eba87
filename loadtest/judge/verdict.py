"""Verdict on a test's figures: first what makes a measurement INVALID, then each objective by exact bounds."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from hdrh.histogram import HdrHistogram

from common.binomial import allowed, design_effect, enough, highest, lowest, sureness
from loadtest.generate.recorder import Collector
from loadtest.generate.shapes import Stage
from loadtest.judge.summary import Finding, Quantiles, Row, Verdict
from loadtest.report.words import duration, percent, plain
from loadtest.slo import Gate, weakest
from monitoring.objectives import Objectives

TOO_SLOW = "The generator is too slow"
# Users start and stop within a second of a stage's, and a Poisson process varies by the root of its mean.
RATE_SLACK, SIGMAS = 0.05, 4.5


def whole_seconds(stage: Stage, start: int) -> range:
    """Those since the epoch that lie in it from end to end."""
    return range(start + math.ceil(stage.start - 1e-6), start + math.floor(stage.end + 1e-6))


def make_rows(collector: Collector, stages: Sequence[Stage], start: int, protocols: Sequence[str]) -> list[Row]:
    """A row per stage and name, and one per name for all measured stages.

    Args:
        start: of the plan, whole seconds since the epoch.
        protocols: that share the rate of the stages.
    """
    rows = []
    for stage in stages:
        for name in collector.names():
            rows.append(make_row(collector, stage.name, name, [stage], start, len(protocols), stage.measured))
    measured = [stage for stage in stages if stage.measured]
    for name in collector.names():
        rows.append(make_row(collector, "all", name, measured, start, len(protocols), True))
    return rows


def make_row(
    collector: Collector, title: str, name: str, stages: Sequence[Stage], start: int, shares: int, measured: bool
) -> Row:
    seconds = [second for stage in stages for second in whole_seconds(stage, start)]
    total = collector.total(name, seconds)
    asked = math.fsum(stage.rate(second + 0.5 - start) for stage in stages for second in whole_seconds(stage, start))
    length = max(len(seconds), 1)
    # What was never answered, and never failed either: its process was lost.
    lost = total["due"] - total["dropped"] - total["answered"] - total["failed"]
    return Row(
        stage=title,
        name=name,
        measured=measured,
        asked_rate=asked / length / shares,
        due=total["due"],
        dropped=total["dropped"],
        answered=total["answered"],
        failed=total["failed"] + max(lost, 0),
        slow=total["slow"],
        labelled=total["labelled"],
        mistaken=total["mistaken"],
        due_rate=total["due"] / length,
        answered_rate=total["answered"] / length,
        latency=quantiles(collector.merged(name, "latency", seconds)),
        service=quantiles(collector.merged(name, "service", seconds)),
        lag=quantiles(collector.merged(name, "lag", seconds)),
    )


def quantiles(histogram: HdrHistogram) -> Quantiles | None:
    if not histogram.get_total_count():
        return None
    at = {share: histogram.get_value_at_percentile(share) / 1e6 for share in (50, 90, 95, 99, 99.9)}
    return Quantiles(
        mean=histogram.get_mean_value() / 1e6,
        p50=at[50],
        p90=at[90],
        p95=at[95],
        p99=at[99],
        p999=at[99.9],
        max=histogram.get_max_value() / 1e6,
        histogram=histogram.encode().decode(),
    )


def invalid(rows: Sequence[Row], objectives: Objectives, gate: Gate, planned: Sequence[Stage]) -> list[str]:
    """Return the reasons why the figures cannot be trusted, a sentence each.

    Args:
        planned: the measured stages; none where there was no plan of rates, or it did not come to its end.
    """
    reasons = (
        [] if any(row.due for row in rows if row.stage == "all") else ["No request was due while it was measured."]
    )
    for row in rows:
        protocol, _, broken = row.name.partition(" ")
        if row.stage != "all" or broken:
            continue
        threshold = next(latency.threshold for name, latency in objectives.latency.items() if name == protocol)
        if row.lag and row.lag.p99 > gate.max_lag * threshold:
            reasons.append(
                f"{TOO_SLOW}: of a hundred requests by {protocol} one was sent {duration(row.lag.p99)} late or later,"
                f" and {duration(gate.max_lag * threshold)} is the most. Give it more processes or another machine."
            )
        if row.dropped > gate.max_dropped:
            reasons.append(
                f"{row.dropped} requests by {protocol} were due and never sent, since too many were in flight; the gate"
                f" allows {gate.max_dropped}."
            )
    for stage in planned:
        seconds = math.floor(stage.end + 1e-6) - math.ceil(stage.start - 1e-6)
        wanted = seconds * stage.rate((stage.start + stage.end) / 2)
        due = sum(row.due for row in rows if row.stage == stage.name)
        slack = RATE_SLACK * wanted + SIGMAS * math.sqrt(wanted)
        if wanted - due > slack:
            reasons.append(
                f"{TOO_SLOW}: in the stage {stage.name} it sent only {due} of {wanted:.0f} requests. Give it more"
                " processes or another machine."
            )
        elif due - wanted > slack:
            reasons.append(f"In the stage {stage.name} {due} requests were sent, where the plan has {wanted:.0f}.")
    return [plain(reason) for reason in reasons]


def judge(
    collector: Collector, objectives: Objectives, gate: Gate, stages: Sequence[Stage], start: int
) -> list[Finding]:
    """Each objective for all that was measured, and again for each stage that breaches it by itself."""
    measured = {stage.name: whole_seconds(stage, start) for stage in stages if stage.measured}
    parts = {"all": [second for seconds in measured.values() for second in seconds], **measured}
    findings = []
    for protocol in gate.protocols:
        latency = objectives.latency[protocol]
        for stage, seconds in parts.items():
            slow = [tally(collector, [protocol], second, late=True) for second in seconds]
            bad = [tally(collector, [protocol, f"{protocol} bad"], second) for second in seconds]
            candidates = (
                finding(f"{protocol} latency", stage, slow, latency.objective, latency.threshold, gate),
                finding(f"{protocol} availability", stage, bad, objectives.availability.objective, None, gate),
            )
            findings += [
                candidate
                for candidate in candidates
                if stage == "all" or (len(measured) > 1 and candidate.verdict is Verdict.BREACH)
            ]
    total = sum((collector.total(name, parts["all"]) for name in collector.names()), Counter())
    if total["labelled"]:
        counts = [(total["labelled"], total["mistaken"])]
        findings.append(finding("accuracy", "all", counts, objectives.accuracy.objective, None, gate))
    return findings


def tally(collector: Collector, names: Sequence[str], second: int, late: bool = False) -> tuple[int, int]:
    """Return the number of requests that were due in a second, and of those that were not answered, or late."""
    total = sum((collector.total(name, [second]) for name in names), Counter())
    return total["due"], total["due"] - total["answered"] + (total["slow"] if late else 0)


def lost(collector: Collector, objectives: Objectives, gate: Gate, stages: Sequence[Stage], start: int) -> bool:
    """Is an objective of latency or availability broken for certain already, however good the rest will be?

    No more than curtailed sampling: a verdict that all of the requests could not change is known before they are sent,
    at no loss of confidence.
    """
    seconds = [second for stage in stages if stage.measured for second in whole_seconds(stage, start)]
    for protocol, most in allowances(objectives, gate).items():
        total = collector.total(protocol, seconds)
        failed = total["failed"] + total["dropped"]
        if failed + total["slow"] > most.slow or failed > most.failed:
            return True
    return False


@dataclass(frozen=True, slots=True)
class Allowance:
    slow: int
    """Answered too late, or not at all."""
    failed: int


def allowances(objectives: Objectives, gate: Gate) -> dict[str, Allowance]:
    """Return the number of planned requests that may be bad before it is a breach, by protocol."""
    expected = round(gate.expected())
    return {
        protocol: Allowance(
            allowed(expected, objectives.latency[protocol].objective, gate.confidence),
            allowed(expected, objectives.availability.objective, gate.confidence),
        )
        for protocol in gate.protocols
    }


def finding(
    name: str,
    stage: str,
    counts: Sequence[tuple[int, int]],
    objective: float,
    threshold: float | None,
    gate: Gate,
) -> Finding:
    """
    Args:
        counts: requests that were due and those of them that were bad, by second.
    """
    count, bad = sum(due for due, _ in counts), sum(wrong for _, wrong in counts)
    effect = design_effect([due for due, _ in counts], [wrong for _, wrong in counts])
    # As many independent requests as this sample is worth, rounded to the careful side.
    worth, wrong = math.floor(count / effect), math.ceil(bad / effect)
    asserted = objective
    if gate.asserts == "sample" and count:
        shown = math.floor(sureness(count, gate.confidence) * 1e4) / 1e4
        asserted = min(objective, max(weakest(objective), shown))
    # That this test's requests broke it is plain of them; that others will not has to be shown by what they are worth.
    low = lowest(bad, count, gate.confidence) if count else 0.0
    high = highest(wrong, worth, gate.confidence) if worth else 1.0
    if low > 1 - objective:
        verdict = Verdict.BREACH
    elif count and high <= 1 - asserted:
        verdict = Verdict.PASS
    else:
        verdict = Verdict.INCONCLUSIVE
    return Finding(
        name=name,
        stage=stage,
        objective=objective,
        asserted=asserted,
        threshold=threshold,
        count=count,
        bad=bad,
        bad_low=low,
        bad_high=high,
        design_effect=effect,
        verdict=verdict,
        sentence=plain(sentence(name, stage, count, bad, low, high, objective, asserted, threshold, verdict, gate)),
    )


def sentence(
    name: str,
    stage: str,
    count: int,
    bad: int,
    low: float,
    high: float,
    objective: float,
    asserted: float,
    threshold: float | None,
    verdict: Verdict,
    gate: Gate,
) -> str:
    where = name if stage == "all" else f"{name} in the stage {stage}"
    good = f"answered within {duration(threshold)}" if threshold else "right" if name == "accuracy" else "answered well"
    seen = f"{count - bad} of {count} were {good}"
    sure = f"{percent(gate.confidence)} confidence"
    match verdict:
        case Verdict.PASS if asserted < objective:
            return (
                f"{where}: {seen}, which shows {percent(asserted)} at {sure}; the objective of {percent(objective)}"
                " takes more requests to show."
            )
        case Verdict.PASS:
            return f"{where}: {seen}; the objective of {percent(objective)} is kept at {sure}."
        case Verdict.BREACH:
            most = percent(1 - low)
            return f"{where}: {seen}; at {sure} that is no more than {most}, and the objective is {percent(objective)}."
    needed = enough(asserted, gate.confidence)
    longer = f"That takes {needed} requests, all of them good." if count < needed else "A longer test would."
    return (
        f"{where}: {seen}; at {sure} that is between {percent(1 - high)} and {percent(1 - low)}, which does not tell"
        f" whether {percent(asserted)} is kept. {longer}"
    )


def overall(findings: Sequence[Finding], reasons: Sequence[str]) -> Verdict:
    """BREACH stays BREACH where requests were dropped, as nobody answered them; not where the generator was slow."""
    verdicts = {finding.verdict for finding in findings}
    late = any(reason.startswith(TOO_SLOW) for reason in reasons)
    if reasons and (late or Verdict.BREACH not in verdicts):
        return Verdict.INVALID
    for verdict in (Verdict.BREACH, Verdict.INCONCLUSIVE):
        if verdict in verdicts:
            return verdict
    return Verdict.PASS if findings else Verdict.INVALID
