"""A checkpoint on a split it never saw -> report.json, predictions.csv, confusion matrices, the worst mistakes.

catsdogs evaluate --data data --run runs/first
"""

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from handler.files import UserError, sha256_file, write_atomic
from handler.preprocess import InputSpec
from training.data import EvalPictures, eval_loader
from training.manifest import Manifest, Picture
from training.metrics import summary
from training.model import Classifier, load_checkpoint, load_trained
from training.report import Mistake, draw_confusion, draw_mistakes
from training.runtime import choose_device

SHEET = 24


def slice_name(picture: Picture, classes: list[str]) -> str:
    """The first folder of a picture's path, so that sources are told apart; `all` where that is a class's own."""
    first = picture.path.split("/")[0]
    return "all" if first.lower() in classes else first


@torch.inference_mode()
def predict(
    model: Classifier, pictures: EvalPictures, workers: int, progress: Callable[[int, int], None]
) -> npt.NDArray[np.float64]:
    """Probabilities of shape (n, classes), in the order of `pictures`."""
    device = choose_device()
    model = model.to(device)
    rows = []
    for batch, _ in eval_loader(pictures, workers):
        rows.append(model(batch.to(device)).double().softmax(1).cpu().numpy())
        progress(sum(len(row) for row in rows), len(pictures))
    return np.concatenate(rows)


def evaluate(
    checkpoint_path: Path,
    manifest: Manifest,
    out: Path,
    split: str = "test",
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, Any]:
    """Writes the report to `out`.

    Raises:
        UserError: the split is empty, or the checkpoint was trained with another manifest and so may know it.
    """
    checkpoint = load_checkpoint(checkpoint_path)
    if checkpoint.manifest_sha256 != manifest.sha256:
        raise UserError("The checkpoint was trained with another manifest, so it may have seen these pictures.")
    chosen = manifest.split(split)
    if not chosen:
        raise UserError(f"The manifest has no picture in its {split} split.")
    spec = InputSpec(**checkpoint.config["input"])
    pictures = EvalPictures(manifest.root, chosen, checkpoint.classes, spec)
    probabilities = predict(load_trained(checkpoint), pictures, checkpoint.config["train"]["workers"], progress)
    labels = np.array(pictures.labels)

    names = np.array([slice_name(picture, checkpoint.classes) for picture in chosen])
    slices = {str(name): summary(labels[names == name], probabilities[names == name]) for name in np.unique(names)}
    report = {
        "split": split,
        "checkpoint_sha256": sha256_file(checkpoint_path),
        "manifest_sha256": manifest.sha256,
        "classes": checkpoint.classes,
        "slices": slices,
    }
    out.mkdir(parents=True, exist_ok=True)
    for name, figures in slices.items():
        title = f"{name}, {split}: {100 * figures['accuracy']:.2f} % of {figures['count']}"
        draw_confusion(figures["confusion"], checkpoint.classes, title, out / f"confusion-{name}.png")
    predicted = probabilities.argmax(axis=1)
    wrong = np.flatnonzero(predicted != labels)
    worst = sorted(wrong, key=lambda i: -probabilities[i, predicted[i]])[:SHEET]
    draw_mistakes(
        [
            Mistake(
                manifest.root / chosen[i].path,
                chosen[i].label,
                checkpoint.classes[predicted[i]],
                float(probabilities[i, predicted[i]]),
            )
            for i in worst
        ],
        out / "mistakes.png",
    )
    write_atomic(out / "predictions.csv", _predictions(chosen, checkpoint.classes, probabilities))
    write_atomic(out / "report.json", json.dumps(report, indent=2).encode() + b"\n")
    return report


def _predictions(pictures: list[Picture], classes: list[str], probabilities: npt.NDArray[np.float64]) -> bytes:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["path", "label", *classes])
    for picture, row in zip(pictures, probabilities, strict=True):
        writer.writerow([picture.path, picture.label, *(f"{probability:.6f}" for probability in row)])
    return buffer.getvalue().encode()
