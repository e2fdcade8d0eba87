"""A registered model, or one about to be, on the test pictures: by its archive, as it is served."""

import hashlib
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import softmax

from handler.files import UserError
from training.data.loaders import EvalPictures
from training.data.manifest import Manifest, Picture
from training.data.pictures import read_picture
from training.data.trained_on import seen
from training.evaluation.contestants import Progress, answers, open_contestant
from training.evaluation.metrics import Floats, Ints, accuracy, calibration_error, log_loss
from training.evaluation.trained import pictures_of
from training.registry.latency import Latency, compare_latency

WORKERS = 2
TIMED = 20


@dataclass(frozen=True, slots=True)
class Measured:
    """A model's answers to the test pictures."""

    labels: Ints
    probabilities: Floats
    """(n, classes) in the order of the manifest's classes."""
    invalid: str = ""
    """Why the figures say nothing, or nothing."""

    @property
    def figures(self) -> dict[str, Any]:
        share = accuracy(self.labels, np.asarray(self.probabilities.argmax(axis=1)))
        return {
            "right": share.right,
            "count": share.count,
            "accuracy": share.share,
            "low": share.low,
            "high": share.high,
            "log_loss": log_loss(self.labels, self.probabilities),
            "ece": calibration_error(self.labels, self.probabilities),
        }


def test_sha256(manifest: Manifest) -> str:
    """Return one SHA-256 for the test split: its pictures and their labels, whatever their names and their order."""
    lines = sorted(f"{picture.sha256} {picture.label}\n" for picture in manifest.split("test"))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def measure(archive: Path, manifest: Manifest, progress: Progress = lambda done, total: None) -> Measured:
    """Let an archive answer the test pictures.

    Raises:
        UserError: it cannot be read, or has other classes than the manifest.
    """
    tested, classes = pictures_of(manifest, "test"), manifest.classes
    with ExitStack() as stack:
        model = open_contestant(archive, manifest, stack)
        if missing := sorted(set(classes) - set(model.classes)):
            raise UserError(f"{archive} does not know {', '.join(missing)}: it tells {', '.join(model.classes)} apart.")
        logits, _ = answers(model, EvalPictures(manifest.root, tested, model.classes, model.input), WORKERS, progress)
        order = [model.classes.index(label) for label in classes]
        labels = np.array([classes.index(picture.label) for picture in tested])
        return Measured(labels, softmax(logits[:, order], axis=1), _invalid(manifest, tested, model.trained_on))


def _invalid(manifest: Manifest, tested: list[Picture], trained_on: bytes | None) -> str:
    if trained_on is None:
        return "The release does not say on which pictures it was trained, so it may know the test pictures."
    if known := seen(manifest, tested, trained_on):
        return (
            f"The model was trained on {len(known)} of the {len(tested)} test pictures or on near-duplicates of them, "
            f"for example {known[0].path}."
        )
    return ""


def latency_of(old: Path, new: Path, manifest: Manifest) -> Latency:
    """Time two archives on test pictures."""
    pictures = [read_picture(manifest.root, picture) for picture in manifest.split("test")[:TIMED]]
    with ExitStack() as stack:
        both = [open_contestant(path, manifest, stack) for path in (old, new)]
        return compare_latency(both[0], both[1], pictures)
