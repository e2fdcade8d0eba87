"""Metrics of the workers in Prometheus' text format; monitoring/metrics.yaml says what each means."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from handler.counts import BATCH_EDGES, CPU_STAGES, STAGE_EDGES, STAGES, TRAFFIC, UNCERTAINTY_EDGES
from serving.telemetry.workers import REASONS, Totals

TEXT = "text/plain; version=0.0.4; charset=utf-8"
# The series of so many classes exist before a picture is one of them.
MAX_CLASSES_AT_START = 50
MODEL_LABELS = ("name", "version", "precision", "sha256", "runtime")


class _Once(Collector):
    def __init__(self, families: Iterable[Metric]) -> None:
        self.families = families

    def collect(self) -> Iterable[Metric]:
        return self.families


def encode(families: Iterable[Metric]) -> bytes:
    """Return the families as Prometheus reads them."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Once(list(families)))
    return generate_latest(registry)


def add_histogram(
    family: HistogramMetricFamily, labels: Sequence[str], edges: Sequence[float], document: Mapping[str, Any] | None
) -> None:
    """Add the series of one histogram, empty where there is no document."""
    counts = document["counts"] if document else [0] * (len(edges) + 1)
    buckets, total = [], 0
    for edge, count in zip((*edges, float("inf")), counts, strict=True):
        total += count
        buckets.append(("+Inf" if edge == float("inf") else repr(edge), total))
    family.add_metric(labels, buckets, sum_value=document["sum"] if document else 0)


def gauge(name: str, meaning: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, meaning, value=value)


def worker_families(
    totals: Totals, classes: Sequence[str], wanted: int, queue: int, ended: Mapping[str, int], restarts: int
) -> Iterator[Metric]:
    """Return the metrics of TorchServe's half of the server.

    Args:
        wanted: number of workers that the server was started with.
        queue: number of requests that may wait for one.
        ended: number of workers that ended, by reason.
        restarts: of Java.
    """
    counts = totals.counts
    yield gauge("catsdogs_queue_limit_requests", "Requests that may wait for a worker.", queue)
    yield gauge("catsdogs_workers_wanted", "Workers that the server was started with.", wanted)
    yield gauge("catsdogs_workers_ready", "Workers that can answer.", totals.ready)
    yield gauge("catsdogs_worker_requests", "Requests that workers held at their last heartbeat.", totals.rows)
    ages = GaugeMetricFamily(
        "catsdogs_worker_heartbeat_age_seconds", "Age of a live worker's last heartbeat.", labels=["worker"]
    )
    for place, age in totals.ages_s.items():
        ages.add_metric([str(place)], age)
    yield ages
    ends = CounterMetricFamily("catsdogs_worker_restarts", "Workers that ended and are replaced.", labels=["reason"])
    for reason in REASONS:
        ends.add_metric([reason], ended[reason])
    yield ends
    yield CounterMetricFamily("catsdogs_torchserve_restarts", "Times that Java was started again.", value=restarts)
    yield CounterMetricFamily(
        "catsdogs_worker_busy_seconds", "Time that workers spent on batches.", value=counts.get("busy_s", 0)
    )
    cpu = CounterMetricFamily("catsdogs_worker_cpu_seconds", "CPU time of workers on batches.", labels=["stage"])
    for stage in CPU_STAGES:
        cpu.add_metric([stage], counts.get("cpu_s", {}).get(stage, 0))
    yield cpu
    stages = HistogramMetricFamily("catsdogs_stage_duration_seconds", "Time by stage.", labels=["stage"])
    for stage in STAGES:
        add_histogram(stages, [stage], STAGE_EDGES, counts.get("stages", {}).get(stage))
    yield stages
    batches = HistogramMetricFamily("catsdogs_batch_pictures", "Pictures in each run of the network.", labels=[])
    add_histogram(batches, [], BATCH_EDGES, counts.get("batches"))
    yield batches
    yield from prediction_families(counts, classes)
    yield from model_families(totals.infos)


def prediction_families(counts: Mapping[str, Any], classes: Sequence[str]) -> Iterator[Metric]:
    """Return the metrics of what was predicted, and of the pictures' statistics."""
    predictions = CounterMetricFamily(
        "catsdogs_predictions", "Pictures that were answered, by the class predicted.", labels=["class", "traffic"]
    )
    known = dict.fromkeys(classes, 0) if len(classes) <= MAX_CLASSES_AT_START else {}
    for traffic in TRAFFIC:
        at_start = known if traffic == "user" else {}
        for label, count in {**at_start, **counts.get("predictions", {}).get(traffic, {})}.items():
            predictions.add_metric([label, traffic], count)
    yield predictions
    uncertainty = HistogramMetricFamily(
        "catsdogs_prediction_uncertainty_ratio", "1 less the probability of the predicted class.", labels=[]
    )
    add_histogram(uncertainty, [], UNCERTAINTY_EDGES, counts.get("uncertainty"))
    yield uncertainty
    bins = CounterMetricFamily("catsdogs_drift_bin", "Pictures by bin of each feature.", labels=["feature", "bin"])
    for feature, by_bin in counts.get("bins", {}).items():
        for index, count in enumerate(by_bin):
            bins.add_metric([feature, f"{index:02d}"], count)
    yield bins


def model_families(infos: Sequence[Mapping[str, Any]]) -> Iterator[Metric]:
    """Return the metrics of the model itself, as the workers describe it."""
    info = GaugeMetricFamily("catsdogs_model_info", "The model that the workers serve.", labels=MODEL_LABELS)
    for each in infos:
        info.add_metric([each["model"][label] for label in MODEL_LABELS], 1)
    yield info
    if not infos:
        return
    yield gauge("catsdogs_batch_limit_pictures", "Pictures that a run takes at most.", infos[0]["batch_limit"])
    if not (reference := infos[0].get("reference")):
        return
    yield gauge("catsdogs_drift_reference_pictures", "Pictures of the reference.", reference["pictures"])
    shares = GaugeMetricFamily(
        "catsdogs_drift_reference_ratio", "Share of the reference in each bin.", labels=["feature", "bin"]
    )
    for feature, by_bin in reference["shares"].items():
        for index, share in enumerate(by_bin):
            shares.add_metric([feature, f"{index:02d}"], share)
    yield shares
    by_class = GaugeMetricFamily(
        "catsdogs_drift_reference_class_ratio", "Share of each class in the reference.", labels=["class"]
    )
    for label, share in reference["classes"].items():
        by_class.add_metric([label], share)
    yield by_class
