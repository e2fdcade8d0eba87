"""Early end of a test, as soon as a breach is certain."""

from collections.abc import Sequence
from dataclasses import dataclass

from common.binomial import max_failures_allowed
from loadtest.generate.recorder import Collector
from loadtest.generate.shapes import Stage
from loadtest.judge.rows import measured_seconds
from loadtest.slo import Gate
from monitoring.objectives import Objectives


def breach_is_certain(
    collector: Collector, objectives: Objectives, gate: Gate, stages: Sequence[Stage], start: int
) -> bool:
    """Is an objective of latency or availability broken already, however good the remaining requests will be?

    This is curtailed sampling: a verdict that no remaining request could change is known early, at no loss of
    confidence.
    """
    seconds = measured_seconds(stages, start)
    for protocol, allowance in allowances(objectives, gate).items():
        total = collector.total(protocol, seconds)
        failed = total["failed"] + total["dropped"]
        if failed + total["slow"] > allowance.slow or failed > allowance.failed:
            return True
    return False


@dataclass(frozen=True, slots=True)
class Allowance:
    """The numbers of requests of one protocol that may be bad before it is a breach."""

    slow: int
    """Requests that are answered too late, or not at all."""
    failed: int


def allowances(objectives: Objectives, gate: Gate) -> dict[str, Allowance]:
    """Return the number of planned requests that may be bad before it is a breach, by protocol."""
    expected = round(gate.expected())
    return {
        protocol: Allowance(
            max_failures_allowed(expected, objectives.latency[protocol].objective, gate.confidence),
            max_failures_allowed(expected, objectives.availability.objective, gate.confidence),
        )
        for protocol in gate.protocols
    }
