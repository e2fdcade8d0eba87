"""A simulated pod: the metrics of monitoring/metrics.yaml, which grow as requests are answered."""

import functools
import itertools
from collections import defaultdict
from typing import Any

import yaml

from tests.zoo import ROOT

PROTOCOLS = ("rest", "multipart", "kserve", "grpc")
FAILURES = ("500", "503", "504")
REQUESTS = "catsdogs_request_duration_seconds"
STAGES = {"queue": 0.004, "decode": 0.006, "network": 0.012}
# Values of labels that a release gives, and labels that appear with the first event alone.
GIVEN = {
    "class": ["cat", "dog"],
    "bin": [f"{number:02}" for number in range(10)],
    "worker": ["0", "1"],
    "python": ["3.11"],
    "name": ["catsdogs"],
    "precision": ["fp32"],
    "runtime": ["mnn"],
    "predicted": ["cat", "dog"],
    "given": ["cat", "dog", "other"],
}
Key = tuple[str, tuple[tuple[str, str], ...]]
UP: Key = ("up", (("metrics_path", "/metrics"),))


@functools.cache
def contract() -> dict[str, dict[str, Any]]:
    """Return the metrics by name."""
    document = yaml.safe_load((ROOT / "monitoring" / "metrics.yaml").read_text())
    return {metric["name"]: metric for metric in document["metrics"]}


def number(value: float) -> str:
    """Return a number as Prometheus' client for Python writes the edge of a bucket."""
    return f"{float(value)!r}"


class Pod:
    """A pod's metrics now (`values`) and at each scrape before (`history`)."""

    def __init__(self, name: str = "a", version: str = "0.2.0") -> None:
        self.name = name
        self.version = version
        self.values: dict[Key, float] = {}
        self.history: dict[Key, list[float | str]] = defaultdict(list)
        self.scrapes = 0
        self.begin()

    def begin(self) -> None:
        """Set every series that exists from the start, all counters to 0."""
        self.values = {}
        given = GIVEN | {"version": [self.version], "sha256": [f"sha of {self.version}"]}
        for name, metric in contract().items():
            choices = [[(label, one) for one in options or given[label]] for label, options in metric["labels"].items()]
            for labels in itertools.product(*choices):
                known = dict(labels)
                lazy = name == REQUESTS and known["code"] not in ("200", *FAILURES)
                if known.get("traffic") != "probe" and not lazy:
                    self.create(name, known)
        for name, value in {
            "catsdogs_torchserve_up": 1,
            "catsdogs_build_info": 1,
            "catsdogs_queue_limit_requests": 32,
            "catsdogs_workers_wanted": 2,
            "catsdogs_workers_ready": 2,
            "catsdogs_worker_heartbeat_age_seconds": 0.3,
            "catsdogs_batch_limit_pictures": 8,
            "catsdogs_drift_reference_ratio": 0.1,
            "catsdogs_drift_reference_pictures": 2000,
            "catsdogs_drift_reference_class_ratio": 0.5,
            "catsdogs_model_info": 1,
        }.items():
            self.set(name, value)

    def create(self, name: str, labels: dict[str, str]) -> None:
        metric = contract()[name]
        if metric["type"] != "histogram":
            self.values.setdefault((name, tuple(labels.items())), 0)
            return
        for edge in [*map(number, metric["buckets"]), "+Inf"]:
            self.values.setdefault((f"{name}_bucket", (*labels.items(), ("le", edge))), 0)
        for part in ("sum", "count"):
            self.values.setdefault((f"{name}_{part}", tuple(labels.items())), 0)

    def set(self, name: str, value: float, **labels: str) -> None:
        """Set each series of a gauge that has these labels."""
        for key in self.values:
            if key[0] == name and labels.items() <= dict(key[1]).items():
                self.values[key] = value

    def count(self, name: str, events: float, **labels: str) -> None:
        self.values[name, tuple(labels.items())] += events

    def observe(self, name: str, events: float, value: float, **labels: str) -> None:
        """Add `events` observations of the same value to a histogram."""
        self.create(name, labels)
        for edge in contract()[name]["buckets"]:
            if value <= edge:
                self.values[f"{name}_bucket", (*labels.items(), ("le", number(edge)))] += events
        self.values[f"{name}_bucket", (*labels.items(), ("le", "+Inf"))] += events
        self.values[f"{name}_count", tuple(labels.items())] += events
        self.values[f"{name}_sum", tuple(labels.items())] += events * value

    def ask(self, requests: float, protocol: str = "rest", code: str = "200", seconds: float = 0.03) -> None:
        """Count requests that took so long and ended with this code."""
        self.observe(REQUESTS, requests, seconds, protocol=protocol, code=code, traffic="user")
        if code != "200":
            return
        for stage, spent in STAGES.items():
            self.observe("catsdogs_stage_duration_seconds", requests, spent, stage=stage)
        self.observe("catsdogs_batch_pictures", requests, 1)
        self.observe("catsdogs_prediction_uncertainty_ratio", requests, 0.01)
        self.count("catsdogs_worker_busy_seconds_total", requests * 0.02)
        for label in GIVEN["class"]:
            self.count("catsdogs_predictions_total", requests / 2, **{"class": label}, traffic="user")
        self.pictures([requests / 10] * 10)

    def pictures(self, counts: list[float], features: tuple[str, ...] | None = None) -> None:
        """Count pictures in the bins of some features, or of all."""
        for feature in features or contract()["catsdogs_drift_bin_total"]["labels"]["feature"]:
            for label, pictures in zip(GIVEN["bin"], counts, strict=True):
                self.count("catsdogs_drift_bin_total", pictures, feature=feature, bin=label)

    def scrape(self, answered: bool = True) -> None:
        """Let Prometheus read the pod, or miss it."""
        present = self.values if answered else {}
        for key in (present.keys() | self.history.keys()) - {UP}:
            samples = self.history[key]
            samples += ["_"] * (self.scrapes - len(samples))
            # Prometheus marks a series that a scrape does not have any more.
            samples.append(present.get(key, "stale"))
        self.history[UP].append(1 if answered else 0)
        self.scrapes += 1

    def series(self, **labels: str) -> dict[str, list[float | str]]:
        """Return what Prometheus read, by series, with the labels that it adds."""
        added = {"job": "catsdogs", "namespace": "pets", "pod": self.name, "instance": f"{self.name}:8082", **labels}
        read = {}
        for (name, own), samples in self.history.items():
            every = ",".join(f'{label}="{value}"' for label, value in {**dict(own), **added}.items())
            read[f"{name}{{{every}}}"] = samples
        return read

    def exposition(self) -> str:
        """Return the page of metrics."""
        lines = []
        for (name, labels), value in self.values.items():
            own = ",".join(f'{label}="{text}"' for label, text in labels)
            lines.append(f"{name}{{{own}}} {value!r}\n" if own else f"{name} {value!r}\n")
        return "".join(lines)
