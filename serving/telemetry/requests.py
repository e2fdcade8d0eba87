"""Counters of the predictions that the gateway was asked for; monitoring/metrics.yaml says what each means."""

import math
import platform
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric

from handler.counts import Histogram
from serving.telemetry.exposition import add_histogram, gauge

EDGES_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
PROTOCOLS = ("rest", "multipart", "kserve", "grpc")
# What is not among these counts under OTHER, so that no client makes a series.
CODES = ("200", "400", "401", "404", "405", "413", "415", "421", "422", "499", "500", "503", "504")
PROBLEMS = (
    "bad_json",
    "bad_request",
    "corrupt_image",
    "deadline",
    "incomplete",
    "internal",
    "method",
    "no_explanation",
    "no_image",
    "not_found",
    "overloaded",
    "too_many_bytes",
    "too_many_pixels",
    "unauthorized",
    "unimplemented",
    "unsupported_encoding",
    "unsupported_image",
    "wrong_host",
)
OTHER = "other"
# Their series exist from the start: a ratio of series that are missing is no number.
CODES_AT_START = ("200", "500", "503", "504")
# A client that left before its answer.
LEFT = 499
# Of the finer histogram of /stats: each edge is so much above the one before, from 0.1 ms on.
GROWTH, LEAST_S, FINE = 1.05, 1e-4, 300


@dataclass(slots=True)
class Requests:
    """Counters of the gateway. Not thread-safe: one event loop has them."""

    since: float = field(default_factory=time.time)
    durations: dict[tuple[str, str, str], Histogram] = field(default_factory=dict)
    """Durations by protocol, code and traffic."""
    problems: dict[tuple[str, str], int] = field(default_factory=dict)
    """Numbers of problems by code and traffic."""
    fine: list[int] = field(default_factory=lambda: [0] * FINE)
    """Numbers of users' predictions that were answered, by duration, for a percentile that is right to 5 %."""

    def __post_init__(self) -> None:
        for protocol in PROTOCOLS:
            for code in CODES_AT_START:
                self.durations[protocol, code, "user"] = Histogram(EDGES_S)
        self.problems |= {(code, "user"): 0 for code in (*PROBLEMS, OTHER)}

    def count(self, protocol: str, status: int, problem: str | None, traffic: str, seconds: float) -> None:
        """Count one prediction that was asked for.

        Args:
            status: of HTTP; an error of gRPC has the one that REST would have.
            problem: the code of the problem document, where there is one.
            traffic: see handler/counts.py.
        """
        code = str(status) if str(status) in CODES else OTHER
        key = (protocol, code, traffic)
        if key not in self.durations:
            self.durations[key] = Histogram(EDGES_S)
        self.durations[key].observe(seconds)
        if problem is not None:
            named = (problem if problem in PROBLEMS else OTHER, traffic)
            self.problems[named] = self.problems.get(named, 0) + 1
        if code == "200" and traffic == "user":
            step = math.log(max(seconds, LEAST_S) / LEAST_S) / math.log(GROWTH)
            self.fine[min(FINE - 1, round(step))] += 1

    def number(self, traffic: str, code: str | None = None) -> int:
        """Return how many requests there were, of one code or of all."""
        return sum(
            sum(histogram.counts)
            for (_, its_code, its_traffic), histogram in self.durations.items()
            if its_traffic == traffic and code in (None, its_code)
        )

    def mean_s(self) -> float | None:
        """Return the mean duration of users' predictions that were answered, or None where there was none."""
        answered = [self.durations[protocol, "200", "user"] for protocol in PROTOCOLS]
        count = sum(sum(histogram.counts) for histogram in answered)
        return sum(histogram.total for histogram in answered) / count if count else None

    def quantile_s(self, share: float) -> float | None:
        """Return the duration that this share of users' predictions did not exceed, right to 5 %."""
        left = math.ceil(share * sum(self.fine))
        for step, count in enumerate(self.fine):
            left -= count
            if count and left <= 0:
                return LEAST_S * GROWTH**step
        return None


def request_families(requests: Requests) -> Iterator[Metric]:
    """Return the metrics of the requests."""
    durations = HistogramMetricFamily(
        "catsdogs_request_duration_seconds",
        "Predictions that were asked for, by HTTP status.",
        labels=["protocol", "code", "traffic"],
    )
    for key in sorted(requests.durations):
        histogram = requests.durations[key]
        add_histogram(durations, key, EDGES_S, histogram.document())
    yield durations
    problems = CounterMetricFamily(
        "catsdogs_problems", "Predictions that were refused or failed, by code.", labels=["code", "traffic"]
    )
    for code_and_traffic in sorted(requests.problems):
        problems.add_metric(code_and_traffic, requests.problems[code_and_traffic])
    yield problems


def state_families(
    uploading: int, at_torchserve: int, held: int | None, version: str, torchserve_up: bool
) -> Iterator[Metric]:
    """Return the metrics of the gateway's state.

    Args:
        uploading: requests whose body is still arriving.
        at_torchserve: requests that TorchServe was asked.
        held: of these, those that workers have; None where nobody knows.
        version: of catsdogs.
    """
    in_flight = GaugeMetricFamily("catsdogs_requests_in_flight", "Requests that the relay holds.", labels=["stage"])
    in_flight.add_metric(["upload"], uploading)
    in_flight.add_metric(["torchserve"], at_torchserve)
    yield in_flight
    yield gauge("catsdogs_queue_requests", "Requests that wait for a worker.", max(0, at_torchserve - (held or 0)))
    yield gauge("catsdogs_torchserve_up", "Whether the workers' counters could be read.", torchserve_up)
    build = GaugeMetricFamily("catsdogs_build_info", "The version of catsdogs.", labels=["version", "python"])
    build.add_metric([version, platform.python_version()], 1)
    yield build
