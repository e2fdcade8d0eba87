"""A checkpoint on a split it never saw -> report.json, predictions.csv, plots and their data, its worst mistakes.

catsdogs evaluate --data data --run runs/first

Calibration is reported before and after one temperature, fitted on the val split and never on the one under test.
"""

import csv
import io
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import softmax

from handler.files import sha256_file, write_atomic
from handler.preprocess import InputSpec, Resize
from training.data.contact import file_names
from training.data.loaders import EvalPictures
from training.data.manifest import Manifest, Picture
from training.evaluation.metrics import Bools, Floats, Ints, reliability, summary, too_few
from training.evaluation.plot_data import write_plot_data
from training.evaluation.report import (
    Mistake,
    draw_confusion,
    draw_mistakes,
    draw_precision_recall,
    draw_reliability,
    draw_slices,
)
from training.evaluation.slices import by_slice
from training.evaluation.sources import domains
from training.evaluation.temperature import Temperature, fit_temperature
from training.evaluation.trained import Progress, open_trained, pictures_of, predict, write_json

SHEET = 24
KINDS = ("confusion", "pr", "reliability", "slices")
FITTED_ON = "val"


def evaluate(
    checkpoint_path: Path,
    manifest: Manifest,
    out: Path,
    split: str = "test",
    progress: Progress = lambda done, total: None,
    size: int | None = None,
    resize: Resize | None = None,
) -> dict[str, Any]:
    """Write the report to `out`, and return it.

    Args:
        size: side of the input in pixels, by default the run's.
        resize: rule of handler/preprocess.py, by default the run's.

    Raises:
        UserError: the split is empty, or as `open_trained`.
    """
    checkpoint, model, usual = open_trained(checkpoint_path, manifest)
    spec = InputSpec(size or usual.size, resize or usual.resize)
    classes, workers = checkpoint.classes, checkpoint.config["train"]["workers"]
    chosen = pictures_of(manifest, split)
    tested = EvalPictures(manifest.root, chosen, classes, spec)
    held_out = EvalPictures(manifest.root, pictures_of(manifest, FITTED_ON), classes, spec)
    extra = 0 if split == FITTED_ON else len(held_out)

    logits, traits = predict(model, tested, workers, lambda done, total: progress(done, total + extra))
    traits["size"] = np.array([min(picture.width, picture.height) for picture in chosen], dtype=np.float64)
    fitted_logits, labels = logits, np.array(tested.labels)
    if extra:
        fitted_logits, _ = predict(
            model, held_out, workers, lambda done, total: progress(len(tested) + done, len(tested) + total)
        )
    temperature = fit_temperature(fitted_logits, np.array(held_out.labels))

    report = {
        "split": split,
        "checkpoint_sha256": sha256_file(checkpoint_path),
        "manifest_sha256": manifest.sha256,
        "classes": classes,
        "input": {"size": spec.size, "resize": spec.resize},
        **_figures(chosen, classes, labels, logits, traits, temperature),
    }
    report["temperature"]["fitted_on_the_split_under_test"] = split == FITTED_ON
    _write(out, report, manifest.root, chosen, labels, logits)
    return report


def _figures(
    pictures: list[Picture],
    classes: list[str],
    labels: Ints,
    logits: Floats,
    traits: dict[str, Floats],
    temperature: Temperature,
) -> dict[str, Any]:
    """Return the temperature, the classes that cannot be judged, and the figures of each source."""
    right = softmax(logits, axis=1).argmax(axis=1) == labels
    slices = {}
    for name, rows in domains(pictures, classes).items():
        slices[name] = summary(labels[rows], logits[rows], classes, temperature.value)
        slices[name]["by_slice"] = by_slice({key: values[rows] for key, values in traits.items()}, right[rows])
    return {
        "temperature": {
            "value": temperature.value,
            "unshrunk": temperature.unshrunk,
            "fitted_on": FITTED_ON,
            "count": temperature.count,
        },
        "not_judged": too_few(labels, classes),
        "slices": slices,
    }


def _write(
    out: Path, report: dict[str, Any], root: Path, pictures: list[Picture], labels: Ints, logits: Floats
) -> None:
    """Write report.json and predictions.csv, and then what is drawn: figures are what a release needs."""
    classes, names = report["classes"], file_names(list(report["slices"]))
    probabilities = softmax(logits, axis=1)
    right = probabilities.argmax(axis=1) == labels
    report["pictures"] = [*(f"{kind}-{names[name]}.png" for name in names for kind in KINDS), "mistakes.png"]
    write_json(out / "report.json", report)
    write_atomic(out / "predictions.csv", _predictions(pictures, classes, probabilities))
    write_plot_data(out, report, domains(pictures, classes), labels, probabilities)
    _draw(out, report, names, domains(pictures, classes), labels, logits)
    draw_mistakes(_worst(root, pictures, classes, probabilities, right), classes, out / "mistakes.png")


def _draw(
    out: Path, report: dict[str, Any], names: dict[str, str], rows: dict[str, Ints], labels: Ints, logits: Floats
) -> None:
    """Draws the figures of each slice, in files that `names` names."""
    classes, temperature = report["classes"], report["temperature"]["value"]
    for name, figures in report["slices"].items():
        truth, raw = labels[rows[name]], softmax(logits[rows[name]], axis=1)
        title = f"{name}, {report['split']}: {100 * figures['accuracy']:.2f} % of {figures['count']}"
        paths = {kind: out / f"{kind}-{names[name]}.png" for kind in KINDS}
        draw_confusion(figures["confusion"], classes, title, paths["confusion"])
        draw_precision_recall(truth, raw, figures["per_class"], title, paths["pr"])
        draw_reliability(
            reliability(truth, raw),
            reliability(truth, softmax(logits[rows[name]] / temperature, axis=1)),
            (f"as it is: ECE {figures['ece']:.4f}", f"T = {temperature:.3f}: ECE {figures['ece_scaled']:.4f}"),
            title,
            paths["reliability"],
        )
        draw_slices(figures["by_slice"], figures["accuracy"], title, paths["slices"])


def _worst(
    root: Path, pictures: list[Picture], classes: list[str], probabilities: Floats, right: Bools
) -> list[Mistake]:
    """The wrong verdicts of highest probability, at most SHEET."""
    confidence, verdict = probabilities.max(axis=1), probabilities.argmax(axis=1)
    order = sorted(np.flatnonzero(~right), key=lambda i: -confidence[i])[:SHEET]
    return [
        Mistake(root / pictures[i].path, pictures[i].label, classes[verdict[i]], float(confidence[i])) for i in order
    ]


def _predictions(pictures: list[Picture], classes: list[str], probabilities: Floats) -> bytes:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["path", "label", *classes])
    for picture, row in zip(pictures, probabilities, strict=True):
        writer.writerow([picture.path, picture.label, *(f"{probability:.6f}" for probability in row)])
    return buffer.getvalue().encode()
