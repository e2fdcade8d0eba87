"""A checkpoint on a split it never saw -> report.json, predictions.csv, pictures of its figures, its worst mistakes.

catsdogs evaluate --data data --run runs/first

Calibration is reported before and after one temperature, fitted on the val split and never on the one under test.
"""

import csv
import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from scipy.special import softmax

from handler.files import UserError, sha256_file, write_atomic
from handler.preprocess import InputSpec, Resize
from training.data.contact import file_names
from training.data.loaders import EvalPictures, eval_loader
from training.data.manifest import Manifest, Picture
from training.data.trained_on import leave_seen_out, refuse_seen
from training.evaluation.metrics import Bools, Floats, Ints, reliability, summary, too_few
from training.evaluation.report import (
    Mistake,
    draw_confusion,
    draw_mistakes,
    draw_precision_recall,
    draw_reliability,
    draw_slices,
)
from training.evaluation.slices import brightness, by_slice, sharpness
from training.evaluation.temperature import fit_temperature
from training.learning.checkpoint import Checkpoint, load_checkpoint, load_trained
from training.learning.model import Classifier
from training.learning.runtime import choose_device
from training.learning.start import known_pictures

SHEET = 24
KINDS = ("confusion", "pr", "reliability", "slices")
FITTED_ON = DECIDED_ON = "val"

Progress = Callable[[int, int], None]
T = TypeVar("T")


def slice_name(picture: Picture, classes: list[str]) -> str:
    """The first folder of a picture's path, so that sources are told apart; `all` where that is a class's own."""
    first = picture.path.split("/")[0]
    return "all" if first.lower() in classes else first


def domains(pictures: list[Picture], classes: list[str]) -> dict[str, Ints]:
    """Indices into `pictures` by `slice_name`, in the order of the names."""
    names = np.array([slice_name(picture, classes) for picture in pictures])
    return {str(name): np.flatnonzero(names == name) for name in np.unique(names)}


def open_trained(path: Path, manifest: Manifest) -> tuple[Checkpoint, Classifier, InputSpec]:
    """A checkpoint that was trained on nothing in the val and test splits, its network, and what that takes.

    Raises:
        UserError: it cannot be read, its weights are not of the network it names, it was trained on pictures of these
            splits, or it does not know a class of the manifest.
    """
    checkpoint = load_checkpoint(path)
    check_unseen(checkpoint, manifest, str(path))
    return checkpoint, load_trained(checkpoint), InputSpec(**checkpoint.config["input"])


def check_unseen(checkpoint: Checkpoint, manifest: Manifest, who: str = "The checkpoint") -> None:
    """Raise UserError where a checkpoint cannot be judged on the val and test splits of a manifest."""
    if unknown := sorted(set(manifest.classes) - set(checkpoint.classes)):
        raise UserError(
            f"{who} does not know {', '.join(unknown)}: it tells {', '.join(checkpoint.classes)} apart. Train a new "
            "run on this manifest."
        )
    refuse_seen(manifest, known_pictures(checkpoint, manifest, who), who)


def unseen_by(path: Path, manifest: Manifest) -> Manifest:
    """Return the manifest without the val and test pictures that a checkpoint was trained on."""
    return leave_seen_out(manifest, known_pictures(load_checkpoint(path), manifest, str(path)))


def pictures_of(manifest: Manifest, split: str) -> list[Picture]:
    if not (chosen := manifest.split(split)):
        raise UserError(f"The manifest has no picture in its {split} split.")
    return chosen


def evenly(items: Sequence[T], limit: int | None) -> list[T]:
    """At most `limit` of them, evenly over the order, so of every class and folder."""
    count = min(len(items), limit or len(items))
    return [items[index * len(items) // count] for index in range(count)]


def origin(checkpoint_path: Path, manifest: Manifest) -> dict[str, Any]:
    """Return what identifies a measurement on the val split: the checkpoint and the pictures."""
    return {
        "decided_on": DECIDED_ON,
        "checkpoint_sha256": sha256_file(checkpoint_path),
        "manifest_sha256": manifest.sha256,
    }


def write_json(path: Path, report: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, json.dumps(report, indent=2, allow_nan=False).encode() + b"\n")


@torch.inference_mode()
def predict(
    model: Classifier, pictures: EvalPictures, workers: int, progress: Progress = lambda done, total: None
) -> tuple[Floats, dict[str, Floats]]:
    """Logits (n, classes) in the order of `pictures`, and brightness and sharpness (n,) of what the network saw.

    Raises:
        UserError: a logit is not finite.
    """
    device = choose_device()
    model = model.to(device)
    rows, light, detail = [], [], []
    for batch, _ in eval_loader(pictures, workers):
        rows.append(model(batch.to(device)).double().cpu().numpy())
        light.append(brightness(batch.numpy()))
        detail.append(sharpness(batch.numpy()))
        progress(sum(len(row) for row in rows), len(pictures))
    logits = np.concatenate(rows)
    if not np.isfinite(logits).all():
        raise UserError("The network answers with numbers that are not finite: its training went wrong.")
    return logits, {"brightness": np.concatenate(light), "sharpness": np.concatenate(detail)}


def right_verdicts(model: Classifier, pictures: EvalPictures, checkpoint: Checkpoint, progress: Progress) -> Bools:
    """Which of the pictures get their own class, (n,)."""
    logits, _ = predict(model, pictures, checkpoint.config["train"]["workers"], progress)
    return np.asarray(logits.argmax(axis=1) == np.array(pictures.labels))


def evaluate(
    checkpoint_path: Path,
    manifest: Manifest,
    out: Path,
    split: str = "test",
    progress: Progress = lambda done, total: None,
    size: int | None = None,
    resize: Resize | None = None,
) -> dict[str, Any]:
    """Writes the report to `out`, and returns it.

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
    pictures = EvalPictures(manifest.root, chosen, classes, spec)
    labels = np.array(pictures.labels)
    held_out = EvalPictures(manifest.root, pictures_of(manifest, FITTED_ON), classes, spec)
    extra = 0 if split == FITTED_ON else len(held_out)

    logits, traits = predict(model, pictures, workers, lambda done, total: progress(done, total + extra))
    traits["size"] = np.array([min(picture.width, picture.height) for picture in chosen], dtype=np.float64)
    fitted_logits, fitted_labels = logits, labels
    if extra:
        fitted_logits, _ = predict(
            model, held_out, workers, lambda done, total: progress(len(pictures) + done, len(pictures) + total)
        )
        fitted_labels = np.array(held_out.labels)
    temperature = fit_temperature(fitted_logits, fitted_labels)
    probabilities = softmax(logits, axis=1)
    right = probabilities.argmax(axis=1) == labels

    slices = {}
    for name, rows in domains(chosen, classes).items():
        slices[name] = summary(labels[rows], logits[rows], classes, temperature.value)
        slices[name]["by_slice"] = by_slice({key: values[rows] for key, values in traits.items()}, right[rows])
    report = {
        "split": split,
        "checkpoint_sha256": sha256_file(checkpoint_path),
        "manifest_sha256": manifest.sha256,
        "classes": classes,
        "input": {"size": spec.size, "resize": spec.resize},
        "temperature": {
            "value": temperature.value,
            "unshrunk": temperature.unshrunk,
            "fitted_on": FITTED_ON,
            "count": temperature.count,
            "fitted_on_the_split_under_test": split == FITTED_ON,
        },
        "not_judged": too_few(labels, classes),
        "slices": slices,
    }
    names = file_names(list(slices))
    report["pictures"] = [*(f"{kind}-{names[name]}.png" for name in slices for kind in KINDS), "mistakes.png"]
    # Before anything is drawn: figures are what a release needs.
    write_json(out / "report.json", report)
    write_atomic(out / "predictions.csv", _predictions(chosen, classes, probabilities))
    _draw(out, report, names, domains(chosen, classes), labels, logits)
    draw_mistakes(_worst(manifest.root, chosen, classes, probabilities, right), classes, out / "mistakes.png")
    return report


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
