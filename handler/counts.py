"""Counters that a worker keeps in memory. The heartbeat writes them beside itself; the serving side adds them up.

monitoring/metrics.yaml is the contract: it says what each of them means.
"""

from bisect import bisect_left
from collections.abc import Sequence
from typing import Any

# Upper edges of the buckets, as in the contract.
STAGE_EDGES = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
BATCH_EDGES = (1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0, 24.0, 32.0, 64.0, 128.0)
UNCERTAINTY_EDGES = (0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.2, 0.3, 0.4, 0.5, 0.75)
STAGES = ("queue", "decode", "network")
# Of a worker's CPU time on batches: the last is everything else that answering takes.
CPU_STAGES = ("decode", "network", "other")
# Marks traffic that is not a user's. Whoever sends it is counted under the other label.
PROBE = "x-catsdogs-probe"
# Explanations take longer than predictions, and are of pictures that were predicted before.
EXPLANATION = "explanation"
TRAFFIC = ("user", "probe", EXPLANATION)


def traffic_of(mark: str | None) -> str:
    """Return the label of a request, from its header x-catsdogs-probe."""
    return TRAFFIC[mark == "1"]


class Histogram:
    """Counts of values by bucket, the last of which has no upper edge, and the sum of the values."""

    __slots__ = ("counts", "edges", "total")

    def __init__(self, edges: Sequence[float]) -> None:
        self.edges = edges
        self.counts = [0] * (len(edges) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        self.counts[bisect_left(self.edges, value)] += 1
        self.total += value

    def document(self) -> dict[str, Any]:
        return {"counts": list(self.counts), "sum": self.total}


class Counts:
    """Everything that one worker counts.

    Args:
        bins: number of bins by feature.
    """

    def __init__(self, bins: dict[str, int]) -> None:
        self.busy_s = 0.0
        self.cpu_s = dict.fromkeys(CPU_STAGES, 0.0)
        self.stages = {stage: Histogram(STAGE_EDGES) for stage in STAGES}
        self.batches = Histogram(BATCH_EDGES)
        self.uncertainty = Histogram(UNCERTAINTY_EDGES)
        self.predictions: dict[str, dict[str, int]] = {traffic: {} for traffic in TRAFFIC}
        self.bins = {feature: [0] * count for feature, count in bins.items()}

    def count_prediction(self, traffic: str, label: str, uncertainty: float) -> None:
        by_class = self.predictions[traffic]
        by_class[label] = by_class.get(label, 0) + 1
        if traffic == "user":
            self.uncertainty.observe(uncertainty)

    def count_bins(self, bins: dict[str, int]) -> None:
        """Count one picture under its bin of each feature."""
        for feature, index in bins.items():
            self.bins[feature][index] += 1

    def document(self) -> dict[str, Any]:
        """Return a copy as JSON takes it. Another thread may count meanwhile: no number ever goes down."""
        return {
            "busy_s": self.busy_s,
            "cpu_s": self.cpu_s.copy(),
            "stages": {stage: histogram.document() for stage, histogram in self.stages.items()},
            "batches": self.batches.document(),
            "uncertainty": self.uncertainty.document(),
            "predictions": {traffic: by_class.copy() for traffic, by_class in self.predictions.items()},
            "bins": {feature: list(counts) for feature, counts in self.bins.items()},
        }
