"""A trained network under measurement: opened, refused where it knows the pictures, asked about them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from handler.files import UserError, sha256_file, write_atomic
from handler.preprocess import InputSpec
from training.data.loaders import EvalPictures, eval_loader
from training.data.manifest import Manifest, Picture
from training.data.trained_on import leave_seen_out, refuse_seen
from training.evaluation.metrics import Bools, Floats
from training.evaluation.slices import brightness, sharpness
from training.learning.checkpoint import Checkpoint, load_checkpoint, load_trained
from training.learning.model import Classifier
from training.learning.runtime import choose_device
from training.learning.start import known_pictures

# The split on which the resize rule and the input size are decided.
DECIDED_ON = "val"

Progress = Callable[[int, int], None]


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
