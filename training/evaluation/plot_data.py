"""The report's figures as small files for tools that compare runs: metrics.json, and a CSV for each kind of plot."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sklearn.metrics import precision_recall_curve  # type: ignore[import-untyped]

from handler.files import write_atomic
from training.evaluation.metrics import Floats, Ints, reliability
from training.evaluation.trained import write_json

METRICS = ("count", "accuracy", "low", "high", "balanced_accuracy", "log_loss", "log_loss_scaled", "ece", "ece_scaled")
# Points of a precision-recall curve: thousands of pictures would give as many.
POINTS = 200


def write_plot_data(
    out: Path, report: Mapping[str, Any], rows: Mapping[str, Ints], labels: Ints, probabilities: Floats
) -> None:
    """Write metrics.json, confusion.csv, pr.csv and reliability.csv.

    Args:
        report: what report.json holds.
        rows: indices of the pictures of each source.
        labels: int64 (n,).
        probabilities: float64 (n, classes).
    """
    classes = report["classes"]
    write_json(
        out / "metrics.json",
        {source: {name: figures[name] for name in METRICS} for source, figures in report["slices"].items()},
    )
    predicted = probabilities.argmax(axis=1)
    confusion = ((classes[label], classes[answer]) for label, answer in zip(labels, predicted, strict=True))
    _write(out / "confusion.csv", ("actual", "predicted"), confusion)
    _write(out / "pr.csv", ("class", "recall", "precision"), _precision_recall(labels, probabilities, classes))
    bins = (
        (source, row["confidence"], row["share"], row["count"])
        for source, chosen in rows.items()
        for row in reliability(labels[chosen], probabilities[chosen])
    )
    _write(out / "reliability.csv", ("source", "probability", "accuracy", "count"), bins)


def _precision_recall(
    labels: Ints, probabilities: Floats, classes: Sequence[str]
) -> Iterable[tuple[str, float, float]]:
    """Yield the points of each class that occurs, by falling recall."""
    for index, name in enumerate(classes):
        if (labels == index).any():
            precision, recall, _ = precision_recall_curve(labels == index, probabilities[:, index])
            step = -(-len(recall) // POINTS)
            yield from ((name, float(r), float(p)) for r, p in zip(recall[::step], precision[::step], strict=True))


def _write(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    write_atomic(path, buffer.getvalue().encode())
