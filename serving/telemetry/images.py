"""Counters of image operations; monitoring/metrics.yaml says what each means."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric

from handler.counts import Histogram
from serving.images.parameters import TAKEN
from serving.telemetry.exposition import add_histogram
from serving.telemetry.requests import EDGES_S, OTHER

REFUSALS = (
    "bad_request",
    "corrupt_image",
    "incomplete",
    "internal",
    "method",
    "no_image",
    "not_found",
    "overloaded",
    "too_many_bytes",
    "too_many_pixels",
    "unauthorized",
    "unsupported_encoding",
    "unsupported_image",
)


@dataclass(slots=True)
class ImageCounts:
    """Counters of one gateway. Not thread-safe: one event loop has them."""

    durations: dict[str, Histogram] = field(default_factory=lambda: {name: Histogram(EDGES_S) for name in TAKEN})
    refused: dict[str, int] = field(default_factory=lambda: dict.fromkeys((*REFUSALS, OTHER), 0))

    def count(self, operation: str, seconds: float) -> None:
        self.durations[operation].observe(seconds)

    def count_refused(self, code: str) -> None:
        self.refused[code if code in self.refused else OTHER] += 1

    def families(self) -> Iterator[Metric]:
        """Return the metrics."""
        durations = HistogramMetricFamily(
            "catsdogs_image_operation_duration_seconds", "Image operations that were carried out.", labels=["operation"]
        )
        for operation, histogram in self.durations.items():
            add_histogram(durations, [operation], EDGES_S, histogram.document())
        yield durations
        refused = CounterMetricFamily(
            "catsdogs_image_operations_refused", "Image operations that were refused or failed.", labels=["code"]
        )
        for code, count in self.refused.items():
            refused.add_metric([code], count)
        yield refused
