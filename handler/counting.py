"""Counting in the worker, while it answers. Nothing here may fail a request."""

import logging
import resource
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

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
    def decoding(self, counted: bool) -> Iterator[None]:
        """Measure the time that reading one request takes. A question about liveness does not count."""
        started, cpu_before = time.monotonic(), cpu_seconds()
        try:
            yield
        finally:
            self.counts.cpu_s["decode"] += cpu_seconds() - cpu_before
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

    def count_answers(self, requests: Iterable[Request], probabilities: Logits, inner: Sequence[Logits] = ()) -> None:
        """Count the predictions.

        Args:
            requests: those that are answered, in order.
            probabilities: a row for each of their pictures.
            inner: the inner features of the same pictures, by batch, where the network gives them.
        """
        try:
            best_of, most = probabilities.argmax(axis=1).tolist(), probabilities.max(axis=1).tolist()
            rows = iter(zip(best_of, most, self._components_of(inner, len(best_of)), strict=True))
            for request in requests:
                for features in _padded(request.features, request.count):
                    best, probability, components = next(rows)
                    uncertainty = max(0.0, 1.0 - probability)
                    self.counts.count_prediction(request.traffic, self.classes[best], uncertainty)
                    if features is not None:
                        measured = {**features, "uncertainty": uncertainty}
                        self.counts.count_bins(bins_of(measured, self.edges))
                        if self.records is not None:
                            known = self.components_sha256 if components else None
                            self.records.add(self.classes[best], probability, {**measured, **components}, known)
        except Exception:
            logger.exception("answers could not be counted")

    def _components_of(self, inner: Sequence[Logits], count: int) -> list[dict[str, float]]:
        """Return the components of each picture, none where the network gives no inner features."""
        if self.components is None or not inner:
            return [{}] * count
        try:
            return self.components.project(np.concatenate(inner))
        except Exception:
            logger.exception("inner features could not be projected")
            return [{}] * count


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
