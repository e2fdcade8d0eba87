"""Counting in the worker, while it answers. Nothing here may fail a request."""

import logging
import resource
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from handler.components import FILE
from handler.counts import Counts
from handler.features import Reference, Thinning, bins_of, edges_of, measure, upright_size
from handler.payload import Request
from handler.predictor import Predictor
from handler.preprocess import Pixels
from handler.records import open_records
from handler.runtimes.runtime import Logits

logger = logging.getLogger(__name__)


class WorkerCounts:
    """Counters of the worker that has this model."""

    info: dict[str, Any]

    def __init__(self, predictor: Predictor, batch_size: int) -> None:
        release, runtime = predictor.release, predictor.runtime
        self.classes = release.classes
        self.components = predictor.components
        self.components_sha256 = release.files.get(FILE) if predictor.components else None
        self.edges = edges_of(release.reference)
        self.counts = Counts({name: len(edges) + 1 for name, edges in self.edges.items()})
        self.thinning = Thinning()
        self.info = {
            "model": {
                "name": release.name,
                "version": release.version,
                "precision": predictor.precision,
                "sha256": release.weights_sha256,
                "runtime": runtime.name,
            },
            "batch_limit": batch_size,
            "reference": _reference(release.reference),
        }
        self.records = open_records({name: self.info["model"][name] for name in ("name", "version", "sha256")})

    def snapshot(self) -> dict[str, Any]:
        """Return everything that the serving side reads, as JSON takes it, and write the records that wait."""
        if self.records is not None:
            self.records.flush()
        return {"info": self.info, "counts": self.counts.document()}

    @contextmanager
    def busy(self) -> Iterator[None]:
        """Measure the time that a batch takes, and its CPU time beside decoding and the network."""
        cpu_s = self.counts.cpu_s
        started, cpu_before = time.monotonic(), cpu_seconds()
        stages_before = cpu_s["decode"] + cpu_s["network"]
        try:
            yield
        finally:
            self.counts.busy_s += time.monotonic() - started
            stages = cpu_s["decode"] + cpu_s["network"] - stages_before
            cpu_s["other"] += max(0.0, cpu_seconds() - cpu_before - stages)

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Measure the CPU time that reading all requests of a batch takes."""
        cpu_before = cpu_seconds()
        yield
        self.counts.cpu_s["decode"] += cpu_seconds() - cpu_before

    @contextmanager
    def decoding(self, counted: bool) -> Iterator[None]:
        """Measure the time that reading one request takes. A question about liveness does not count."""
        started = time.monotonic()
        try:
            yield
        finally:
            if counted:
                self.counts.stages["decode"].observe(time.monotonic() - started)

    @contextmanager
    def network(self, pictures: int) -> Iterator[None]:
        """Measure a run of the network."""
        started, cpu_before = time.monotonic(), cpu_seconds()
        yield
        self.counts.cpu_s["network"] += cpu_seconds() - cpu_before
        self.counts.stages["network"].observe(time.monotonic() - started)
        self.counts.batches.observe(pictures)

    def count_waits(self, times: Iterable[str | None]) -> None:
        """Count how long each request waited, by the time in ms at which the relay asked TorchServe."""
        now = time.time()
        for text in times:
            if text and text.isascii() and text.isdecimal() and len(text) <= 15:
                self.counts.stages["queue"].observe(max(0.0, now - int(text) / 1000))

    def measured(self, traffic: str, picture: bytes, pixels: Pixels) -> dict[str, float] | None:
        """Return a picture's features, or None where it is not measured."""
        if traffic != "user" or not self.thinning.takes():
            return None
        try:
            return measure(pixels, *upright_size(picture))
        except Exception:
            logger.exception("a picture that was decoded could not be measured")
            return None

    def due(self, requests: Iterable[Request]) -> set[int]:
        """Return which pictures are to be recorded, by their place among all pictures of these requests.

        It is decided before the network computes them, since only their batch needs inner features.
        """
        if self.records is None:
            return set()
        measured = [features for request in requests for features in _padded(request.features, request.count)]
        return {place for place, features in enumerate(measured) if features is not None and self.records.takes()}

    def count_answers(
        self,
        requests: Iterable[Request],
        probabilities: Logits,
        due: Collection[int] = (),
        inner: Mapping[int, Logits] | None = None,
    ) -> None:
        """Count the predictions.

        Args:
            requests: those that are answered, in order.
            probabilities: a row for each of their pictures.
            due: the places of those that are to be recorded.
            inner: the inner features of pictures by place, where the network gave them.
        """
        try:
            best_of, most = probabilities.argmax(axis=1).tolist(), probabilities.max(axis=1).tolist()
            place = 0
            for request in requests:
                for features in _padded(request.features, request.count):
                    label, probability = self.classes[best_of[place]], most[place]
                    uncertainty = max(0.0, 1.0 - probability)
                    self.counts.count_prediction(request.traffic, label, uncertainty)
                    if features is not None:
                        measured = {**features, "uncertainty": uncertainty}
                        self.counts.count_bins(bins_of(measured, self.edges))
                        if place in due:
                            self._record(label, probability, measured, (inner or {}).get(place))
                    place += 1
        except Exception:
            logger.exception("answers could not be counted")

    def _record(self, label: str, probability: float, features: Mapping[str, float], inner: Logits | None) -> None:
        """Record a prediction, with components where the network gave inner features."""
        assert self.records is not None
        components: dict[str, float] = {}
        if self.components is not None and inner is not None:
            try:
                (components,) = self.components.project(inner[None])
            except Exception:
                logger.exception("inner features could not be projected")
        known = self.components_sha256 if components else None
        self.records.add(label, probability, {**features, **components}, known)


def cpu_seconds() -> float:
    """Return the CPU time of this process with all its threads, since a runtime may compute in some of its own.

    Linux updates CLOCK_PROCESS_CPUTIME_ID only at ticks of the scheduler while a timer of CPU time runs, and one runs
    while a row is read (handler/budget.py).
    """
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _padded(features: Sequence[dict[str, float] | None], count: int) -> list[dict[str, float] | None]:
    return [*features, *[None] * (count - len(features))]


def _reference(reference: Reference | None) -> dict[str, Any] | None:
    if reference is None:
        return None
    return {
        "pictures": reference.pictures,
        "shares": {name: list(shares) for name, shares in reference.shares.items()},
        "classes": dict(reference.classes),
    }
