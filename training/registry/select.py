"""The best run of an experiment by validation accuracy, among those that were trained on the same pictures."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from common.wilson import wilson_bounds
from handler.files import UserError, first_line
from training.tracking.mlflow_tracker import FailedCall, MLflowTracker
from training.tracking.tracker import without_credentials

METRIC = "best_val_accuracy"
MOST = 1000
CONFIDENCE = 0.975
"""Confidence of each bound alone, with which 95 % of the intervals hold."""


@dataclass(frozen=True, slots=True)
class Run:
    """A finished run."""

    id: str
    name: str
    folder: str
    accuracy: float
    """The best validation accuracy of its epochs."""
    loss: float
    """The validation loss of the last epoch, which decides between equal accuracies."""
    pictures: int
    """Pictures of the val split; 0 where nobody recorded it."""

    @property
    def bounds(self) -> tuple[float, float] | None:
        """The 95 % interval of the accuracy (Wilson)."""
        if not self.pictures:
            return None
        return wilson_bounds(round(self.accuracy * self.pictures), self.pictures, CONFIDENCE)


@dataclass(frozen=True, slots=True)
class Selection:
    """Runs by validation accuracy, the best first, and how many were passed over and why."""

    runs: list[Run]
    other_data: int
    unfinished: int

    @property
    def best(self) -> Run:
        return self.runs[0]


def select(manifest_sha256: str, tracker: MLflowTracker | None = None) -> Selection:
    """Return the finished runs of the experiment that were trained with a manifest.

    Accuracies on the val splits of two manifests cannot be compared.

    Raises:
        UserError: there is none, or the tracking server does not answer.
    """
    tracker = tracker or MLflowTracker()
    place = without_credentials(tracker.place)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            rows = _rows(tracker)
    except FailedCall as error:
        raise UserError(f"{place} does not answer: {without_credentials(first_line(error))}") from error
    ours = [row for row in rows if row.data.tags.get("data_sha256") == manifest_sha256]
    finished = [row for row in ours if row.info.status == "FINISHED"]
    if not finished:
        raise UserError(
            f"{place} has no finished run that was trained on these pictures (manifest {manifest_sha256[:12]}), of "
            f"{len(rows)} runs. Record one by: catsdogs train --tracker mlflow"
        )
    runs = sorted(map(_run, finished), key=lambda run: (-run.accuracy, run.loss))
    return Selection(runs, len(rows) - len(ours), len(ours) - len(finished))


def _rows(tracker: MLflowTracker) -> Sequence[Any]:
    """Return the runs that were trained: not the parents of sweeps, which have no folder of a run."""
    client = tracker.client()
    found = client.search_runs([tracker.experiment()], f"metrics.{METRIC} >= 0", max_results=MOST)
    return [row for row in found if "run_folder" in row.data.tags]


def _run(row: Any) -> Run:
    tags, metrics = row.data.tags, row.data.metrics
    pictures = tags.get("pictures.val", "")
    return Run(
        row.info.run_id,
        row.info.run_name or "",
        tags["run_folder"],
        float(metrics[METRIC]),
        float(metrics.get("val_loss", float("inf"))),
        int(pictures) if pictures.isdigit() else 0,
    )
