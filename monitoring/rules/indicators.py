"""Indicators of the service level: which requests of users count, and which of them are bad, by protocol.

A request that the client caused to fail (4xx) says nothing about the server and counts neither way. One that the client
left before its answer (499) is slow if it waited for longer than the threshold. One that failed is slow, too, as in
the load test. Where no requests came, there is no ratio: the average over 30 days is one of times with requests.
"""

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

from monitoring.rules.model import Target

if TYPE_CHECKING:  # needs pydantic, which the servers' image has not
    from monitoring.objectives import Objectives

REQUESTS = "catsdogs_request_duration_seconds"
USERS = 'traffic="user"'
NAMES = {"rest": "REST", "multipart": "multipart forms", "kserve": "KServe's protocols", "grpc": "gRPC"}


def edge(seconds: float) -> str:
    """Return the matcher of a bucket: Prometheus 3 writes le="1.0" where 2 keeps le="1"."""
    text = f"{seconds:g}"
    return f'le="{text}"' if "." in text else f'le=~"{text}([.]0)?"'


@dataclass(frozen=True, slots=True)
class Indicator:
    """One objective of one protocol: availability, or latency where a threshold is given."""

    protocol: str
    objective: float
    threshold: float | None = None

    @property
    def category(self) -> str:
        return "availability" if self.threshold is None else "latency"

    @property
    def name(self) -> str:
        return f"{self.category}-{self.protocol}"

    @property
    def alert(self) -> str:
        return f"Catsdogs{self.category.capitalize()}BudgetBurn"

    @property
    def labels(self) -> dict[str, str]:
        """Labels of its alerts."""
        return {"category": self.category, "protocol": self.protocol}

    @property
    def percent(self) -> float:
        return float(Decimal(repr(self.objective)) * 100)

    @property
    def meaning(self) -> str:
        """Promise of the objective, as a sentence."""
        if self.threshold is None:
            return f"{self.percent:g} % of the predictions asked for by {NAMES[self.protocol]} do not fail."
        return (
            f"{self.percent:g} % of the predictions asked for by {NAMES[self.protocol]} are answered within "
            f"{self.threshold:g} s."
        )

    @property
    def summary(self) -> str:
        return f"The {self.category} of {NAMES[self.protocol]}"

    @property
    def feeling(self) -> str:
        if self.threshold is None:
            return "Some requests are answered with an error (500, 503 or 504)."
        return f"Some requests are answered after {self.threshold:g} s, or with an error."

    @property
    def first_step(self) -> str:
        if self.threshold is None:
            return "look on the board which code and which pod the errors have, then at the log of that pod."
        return "look on the board which stage is slow: queue, decode or network."

    def counts(self) -> str:
        return 'code=~"200|5.."' if self.threshold is None else 'code=~"200|499|5.."'

    def total(self, target: Target, window: str, function: str = "rate") -> str:
        """Return the query of all requests that count; without requests it has no sample."""
        series = target.series(f"{REQUESTS}_count", f'protocol="{self.protocol}"', USERS, self.counts())
        return f"sum({function}({series}[{window}])) > 0"

    def good_series(self, target: Target) -> str:
        """Return the selector of the series without which the indicator is blind."""
        own = (f'protocol="{self.protocol}"', USERS)
        if self.threshold is None:
            return target.series(f"{REQUESTS}_count", *own, 'code="200"')
        return target.series(f"{REQUESTS}_bucket", *own, 'code=~"200|499"', edge(self.threshold))

    def bad(self, target: Target, window: str, function: str = "rate") -> str:
        """Return the query of the bad requests."""
        own = (f'protocol="{self.protocol}"', USERS)
        if self.threshold is None:
            failed = target.series(f"{REQUESTS}_count", *own, 'code=~"5.."')
            return f"sum({function}({failed}[{window}]))"
        counted = target.series(f"{REQUESTS}_count", *own, self.counts())
        return f"sum({function}({counted}[{window}])) - sum({function}({self.good_series(target)}[{window}]))"


def indicators(objectives: "Objectives") -> tuple[Indicator, ...]:
    """Return the indicators of each protocol that has an objective of latency."""
    return tuple(
        indicator
        for protocol, latency in objectives.latency.items()
        for indicator in (
            Indicator(protocol, objectives.availability.objective),
            Indicator(protocol, latency.objective, latency.threshold),
        )
    )
