"""Verdict on a test's figures: first what makes a measurement INVALID, then each objective by exact bounds."""

import math
from collections import Counter
from collections.abc import Iterator, Sequence

from common.binomial import design_effect, lower_bound, min_sample_size, provable_objective, upper_bound
from common.verdicts import Verdict
from loadtest.generate.recorder import Collector
from loadtest.generate.shapes import Stage
from loadtest.judge.rows import measured_seconds, whole_seconds
from loadtest.judge.summary import Finding, Row
from loadtest.report.words import duration, percent, plain
from loadtest.slo import Gate, weakest
from monitoring.objectives import Objectives

TOO_SLOW = "The generator is too slow"
# Users start and stop within a second of a stage's, and a Poisson process varies by the root of its mean.
RATE_SLACK, SIGMAS = 0.05, 4.5


def invalid(rows: Sequence[Row], objectives: Objectives, gate: Gate, planned: Sequence[Stage]) -> list[str]:
    """Return the reasons why the figures cannot be trusted, a sentence each.

    Args:
        planned: the measured stages; none where there was no plan of rates, or it did not come to its end.
    """
    reasons = (
        [] if any(row.due for row in rows if row.stage == "all") else ["No request was due while it was measured."]
    )
    for row in rows:
        if row.stage == "all" and row.name in objectives.latency:
            reasons += late_or_dropped(row, objectives.latency[row.name].threshold, gate)
    for stage in planned:
        reasons += off_plan(stage, sum(row.due for row in rows if row.stage == stage.name))
    return [plain(reason) for reason in reasons]


def late_or_dropped(row: Row, threshold: float, gate: Gate) -> Iterator[str]:
    """Yield the reasons not to trust the figures of one protocol."""
    if sentence := late(row, gate.max_lag * threshold):
        yield sentence
    if row.dropped > gate.max_dropped:
        yield (
            f"{row.dropped} requests by {row.name} were due and never sent, since too many were in flight; the gate"
            f" allows {gate.max_dropped}."
        )


def late(row: Row, max_lag_s: float) -> str | None:
    """Return a sentence where more than 1 % of the requests of one protocol were sent later than allowed."""
    if row.lag is None or row.lag.p99 <= max_lag_s:
        return None
    return (
        f"{TOO_SLOW}: 1 % of the requests by {row.name} were sent {duration(row.lag.p99)} late or later, and the"
        f" gate allows {duration(max_lag_s)}. Give it more processes or another machine."
    )


def off_plan(stage: Stage, due: int) -> Iterator[str]:
    """Yield the reason not to trust a stage in which far fewer or more requests were due than planned."""
    seconds = math.floor(stage.end + 1e-6) - math.ceil(stage.start - 1e-6)
    planned = seconds * stage.rate((stage.start + stage.end) / 2)
    slack = RATE_SLACK * planned + SIGMAS * math.sqrt(planned)
    if planned - due > slack:
        yield (
            f"{TOO_SLOW}: in the stage {stage.name} it sent only {due} of {planned:.0f} requests. Give it more"
            " processes or another machine."
        )
    elif due - planned > slack:
        yield f"In the stage {stage.name} {due} requests were sent, where the plan has {planned:.0f}."


def judge(
    collector: Collector, objectives: Objectives, gate: Gate, stages: Sequence[Stage], start: int
) -> list[Finding]:
    """Judge each objective for all measured stages together, and again for each stage that breaches it by itself."""
    measured = {stage.name: whole_seconds(stage, start) for stage in stages if stage.measured}
    parts = {"all": measured_seconds(stages, start), **measured}
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


def finding(
    name: str,
    stage: str,
    counts: Sequence[tuple[int, int]],
    objective: float,
    threshold: float | None,
    gate: Gate,
) -> Finding:
    """Judge one objective.

    Args:
        counts: number of requests that were due, and of those that were bad, in each second.
        objective: required share of good requests.
        threshold: seconds within which a good request is answered, where it is an objective of latency.
    """
    count, bad = sum(due for due, _ in counts), sum(wrong for _, wrong in counts)
    effect = design_effect([due for due, _ in counts], [wrong for _, wrong in counts])
    effective_count, effective_bad = math.floor(count / effect), math.ceil(bad / effect)
    asserted = asserted_share(objective, count, gate)
    # A breach is about these very requests. PASS is about other requests as well, which takes independent ones.
    low = lower_bound(bad, count, gate.confidence) if count else 0.0
    high = upper_bound(effective_bad, effective_count, gate.confidence) if effective_count else 1.0
    if low > 1 - objective:
        verdict = Verdict.BREACH
    elif count and high <= 1 - asserted:
        verdict = Verdict.PASS
    else:
        verdict = Verdict.INCONCLUSIVE
    judged = Finding(
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
        sentence="",
    )
    return judged.model_copy(update={"sentence": plain(sentence(judged, gate.confidence))})


def asserted_share(objective: float, count: int, gate: Gate) -> float:
    """Return the share of good requests that PASS asserts: the objective, or what a sample of this size can show."""
    if gate.asserts != "sample" or not count:
        return objective
    provable = math.floor(provable_objective(count, gate.confidence) * 1e4) / 1e4
    return min(objective, max(weakest(objective), provable))


def sentence(judged: Finding, confidence: float) -> str:
    """Return a finding in words."""
    subject = judged.name if judged.stage == "all" else f"{judged.name} in the stage {judged.stage}"
    good = "right" if judged.name == "accuracy" else "answered well"
    if judged.threshold:
        good = f"answered within {duration(judged.threshold)}"
    observed = f"{subject}: {judged.count - judged.bad} of {judged.count} were {good}"
    at_confidence = f"at {percent(confidence)} confidence"
    objective, asserted = percent(judged.objective), percent(judged.asserted)
    least, most = percent(1 - judged.bad_high), percent(1 - judged.bad_low)
    match judged.verdict:
        case Verdict.PASS if judged.asserted < judged.objective:
            return (
                f"{observed}, which shows {asserted} {at_confidence}; the objective of {objective} takes more requests"
                " to show."
            )
        case Verdict.PASS:
            return f"{observed}; the objective of {objective} is kept {at_confidence}."
        case Verdict.BREACH:
            return f"{observed}; {at_confidence} that is no more than {most}, and the objective is {objective}."
    needed = min_sample_size(judged.asserted, confidence)
    longer = f"That takes {needed} requests, all of them good." if judged.count < needed else "A longer test would."
    return (
        f"{observed}; {at_confidence} that is between {least} and {most}, which does not tell whether {asserted} is"
        f" kept. {longer}"
    )


def overall(findings: Sequence[Finding], reasons: Sequence[str]) -> Verdict:
    """Return the verdict of the whole test.

    BREACH stays BREACH where requests were dropped, since the server had not answered; it becomes INVALID where the
    generator was too slow.
    """
    verdicts = {finding.verdict for finding in findings}
    late = any(reason.startswith(TOO_SLOW) for reason in reasons)
    if reasons and (late or Verdict.BREACH not in verdicts):
        return Verdict.INVALID
    for verdict in (Verdict.BREACH, Verdict.INCONCLUSIVE):
        if verdict in verdicts:
            return verdict
    return Verdict.PASS if findings else Verdict.INVALID
