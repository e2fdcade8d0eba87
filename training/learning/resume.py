"""A run whose data folder has got another manifest meanwhile: it is finished on its own, or a new run goes on."""

import csv
from pathlib import Path
from typing import Any

from handler.files import UserError
from training.config import Config
from training.data.earlier import restore
from training.data.manifest import Manifest, earlier_name
from training.learning.checkpoint import Checkpoint, load_checkpoint


def manifest_of(run: Path, manifest: Manifest, config: Config) -> Manifest:
    """Return the manifest that the run in `run` goes on with: its own where it is unfinished, which may be a kept one.

    Raises:
        UserError: it is finished, or its manifest is not kept; the message has the command that starts a new run from
            its weights.
    """
    last = run / "last.pt"
    if not last.exists():
        return manifest
    checkpoint = load_checkpoint(last)
    if checkpoint.manifest_sha256 == manifest.sha256:
        return manifest
    again = again_from(checkpoint.config, manifest.folder, run)
    if _is_finished(run, checkpoint, config):
        raise UserError(f"The run in {run} is finished, and the manifest has changed since. {again}")
    own = restore(manifest, checkpoint.manifest_sha256)
    if own is None:
        raise UserError(
            f"The run in {run} was begun with another manifest, and can only be finished with that: there is no "
            f"{earlier_name(checkpoint.manifest_sha256)} in {manifest.folder}. {again}"
        )
    return own


def note_if_finished(run: Path, manifest: Manifest, config: Config) -> str | None:
    """Return a sentence where the run in `run` is finished, with the command that trains on in a new one."""
    if not (run / "last.pt").exists():
        return None
    checkpoint = load_checkpoint(run / "last.pt")
    if checkpoint.manifest_sha256 != manifest.sha256 or not _is_finished(run, checkpoint, config):
        return None
    again = again_from(checkpoint.config, manifest.folder, run)
    return (
        f"The run in {run} is finished after {checkpoint.epoch} epochs and stays as it is. {again} "
        "(--set train.epochs=N sets how long)"
    )


def _is_finished(run: Path, checkpoint: Checkpoint, config: Config) -> bool:
    return checkpoint.epoch >= config.train.epochs or _stale(run, config.train.patience)


def again_from(config: dict[str, Any], data: Path | None, run: Path) -> str:
    """Return the sentence with the command that trains a new run on the current manifest from this run's weights."""
    command = ["catsdogs train", f"--config {run / 'config.yaml'}", f"--data {data or 'DATA'}", f"--run {_free(run)}"]
    command.append(f"--set model.weights={run / 'best.pt'}")
    if config["model"].get("weights_sha256"):
        command.append("--set model.weights_sha256=null")
    return f"To train a new run from its weights on all pictures: {' '.join(command)}"


def _free(run: Path) -> Path:
    number = 2
    while (free := run.with_name(f"{run.name}-{number}")).exists():
        number += 1
    return free


def _stale(run: Path, patience: int) -> bool:
    """Whether the best validation accuracy in the run's history is `patience` epochs old."""
    if not patience:
        return False
    try:
        with (run / "history.csv").open(newline="") as file:
            accuracies = [float(row["val_accuracy"]) for row in csv.DictReader(file)]
    except (OSError, ValueError, KeyError):
        return False
    return bool(accuracies) and len(accuracies) - 1 - accuracies.index(max(accuracies)) >= patience
