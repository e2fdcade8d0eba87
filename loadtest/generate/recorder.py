"""Records of one process, by the second in which requests were due, in the form that processes send each other.

HdrHistograms of three digits (hdrhistogram.org) add up exactly, whichever process, second or stage they are of.
"""

from collections import Counter
from collections.abc import Iterable
from typing import Any

from hdrh.histogram import HdrHistogram

# Microseconds: one to an hour.
LOWEST, HIGHEST, DIGITS = 1, 3_600_000_000, 3
COUNTS = ("due", "dropped", "answered", "failed", "contradictory", "slow", "labelled", "mistaken")
TIMES = ("latency", "service", "lag")
Model = tuple[str | None, str | None]
"""Version, and sha256 of the weights, as an answer names them; None where it does not."""
NAMELESS: Model = (None, None)


def histogram(seconds: Iterable[float] = ()) -> HdrHistogram:
    """Return an HdrHistogram, in microseconds, of times in seconds."""
    recorded = HdrHistogram(LOWEST, HIGHEST, DIGITS)
    for value in seconds:
        recorded.record_value(min(max(round(value * 1e6), LOWEST), HIGHEST))
    return recorded


class Recorder:
    def __init__(self, thresholds_s: dict[str, float]) -> None:
        self.thresholds_s = thresholds_s
        self.counts: dict[tuple[int, str], Counter[str]] = {}
        self.times: dict[tuple[int, str, str], list[float]] = {}
        self.failures: Counter[tuple[int, str, str]] = Counter()
        self.models: Counter[tuple[int, Model]] = Counter()
        self.under_way = 0

    def due(self, name: str, due: float) -> None:
        self.count(name, due, "due")

    def dropped(self, name: str, due: float) -> None:
        self.count(name, due, "dropped")

    def sent(self, name: str, due: float, sent: float) -> None:
        self.time(name, due, "lag", sent - due)

    def failed(self, name: str, due: float, kind: str, contradictory: bool = False) -> None:
        """
        Args:
            contradictory: there was an answer, whose parts contradict each other.
        """
        self.count(name, due, "failed")
        if contradictory:
            self.count(name, due, "contradictory")
        self.failures[int(due), name, kind] += 1

    def answered(self, name: str, due: float, sent: float, now: float, right: bool | None, model: Model) -> None:
        """
        Args:
            name: the protocol.
            due, sent, now: times since the epoch, seconds; `now` is that of the answer's last byte.
            right: does the answer name the picture's label? None where it is not known.
            model: version and sha256 that the answer names.
        """
        self.count(name, due, "answered")
        self.time(name, due, "latency", now - due)
        self.time(name, due, "service", now - sent)
        self.models[int(due), model] += 1
        if now - due > self.thresholds_s.get(name, float("inf")):
            self.count(name, due, "slow")
        if right is not None:
            self.count(name, due, "labelled")
            if not right:
                self.count(name, due, "mistaken")

    def count(self, name: str, due: float, kind: str) -> None:
        self.counts.setdefault((int(due), name), Counter())[kind] += 1

    def time(self, name: str, due: float, kind: str, seconds: float) -> None:
        self.times.setdefault((int(due), name, kind), []).append(seconds)

    def take(self) -> dict[str, Any]:
        """Return the records since the last time as plain values, in which one process sends them to another."""
        report = {
            "counts": [[second, name, dict(counts)] for (second, name), counts in self.counts.items()],
            "times": [
                [second, name, kind, histogram(values).encode().decode()]
                for (second, name, kind), values in self.times.items()
            ],
            "failures": [[second, name, kind, count] for (second, name, kind), count in self.failures.items()],
            "models": [[second, *model, count] for (second, model), count in self.models.items()],
            "under_way": self.under_way,
        }
        self.counts, self.times, self.failures, self.models = {}, {}, Counter(), Counter()
        return report


class Collector:
    """The sum of all processes' records."""

    def __init__(self) -> None:
        self.counts: dict[tuple[int, str], Counter[str]] = {}
        self.times: dict[tuple[int, str, str], list[str]] = {}
        self.failures: Counter[tuple[int, str, str]] = Counter()
        """Records by second, protocol and kind."""
        self.models: Counter[tuple[int, Model]] = Counter()
        """Answers by second and model."""
        self.under_way: dict[str, int] = {}
        """Records by process."""
        self.drained: set[str] = set()
        """Processes that have sent all their records."""

    def add(self, process: str, report: dict[str, Any]) -> None:
        for second, name, counts in report["counts"]:
            self.counts.setdefault((second, name), Counter()).update(counts)
        for second, name, kind, encoded in report["times"]:
            self.times.setdefault((second, name, kind), []).append(encoded)
        for second, name, kind, count in report["failures"]:
            self.failures[second, name, kind] += count
        for second, version, sha256, count in report["models"]:
            self.models[second, (version, sha256)] += count
        self.under_way[process] = report["under_way"]
        if report.get("drained"):
            self.drained.add(process)

    def names(self) -> list[str]:
        return sorted({name for _, name in self.counts})

    def total(self, name: str, seconds: Iterable[int]) -> Counter[str]:
        total: Counter[str] = Counter()
        for second in seconds:
            total.update(self.counts.get((second, name), Counter()))
        return total

    def merged(self, name: str, kind: str, seconds: Iterable[int]) -> HdrHistogram:
        merged = histogram()
        for second in seconds:
            for encoded in self.times.get((second, name, kind), ()):
                merged.decode_and_add(encoded.encode())
        return merged
