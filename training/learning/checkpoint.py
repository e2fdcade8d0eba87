"""The checkpoint: everything that a run needs to go on, and that a release is made from."""

import io
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from handler.files import UserError, first_line, write_atomic
from training.learning.model import Classifier, State, build


@dataclass(slots=True)
class Checkpoint:
    """A run between two epochs."""

    model: State
    """The trained module's state, layers that serve only training included."""
    ema: State
    """The averaged weights of the classifier: what is validated and released."""
    optimizer: dict[str, Any]
    epoch: int
    """Epochs done."""
    config: dict[str, Any]
    classes: list[str]
    manifest_sha256: str
    git_sha: str
    versions: dict[str, str]
    scaler: dict[str, Any] | None = None
    """State of the gradients' scaler, where they are fp16."""
    teacher: dict[str, Any] | None = None
    """Whose answers it was trained on, for the card."""
    start: dict[str, Any] | None = None
    """The run or release whose weights it started from, for the card."""
    names: dict[str, str] = field(default_factory=dict)
    """Display name of each class that has another than itself."""
    trained_on: bytes | None = None
    """The pictures that it and what it started from were trained on, see training/data/trained_on.py; None in
    checkpoints that are older than this field."""
    averaged: list[dict[str, Any]] | None = None
    """The models whose weights these are the mean of, for the card; see training/learning/average.py."""


def save_checkpoint(checkpoint: Checkpoint, path: Path) -> None:
    """Writes beside, then renames."""
    buffer = io.BytesIO()
    torch.save(asdict(checkpoint), buffer)
    write_atomic(path, buffer.getvalue())


def load_checkpoint(path: Path) -> Checkpoint:
    """Reads a checkpoint with `weights_only=True`.

    Raises:
        UserError: it is missing or is not one of ours.
    """
    try:
        return Checkpoint(**torch.load(path, map_location="cpu", weights_only=True))
    except FileNotFoundError as error:
        raise UserError(f"There is no checkpoint {path}. Make one by: catsdogs train") from error
    except Exception as error:
        raise UserError(f"{path} is not a checkpoint of catsdogs: {first_line(error)}") from error


def load_trained(checkpoint: Checkpoint) -> Classifier:
    """The network with its averaged weights, ready to answer.

    Raises:
        UserError: the weights are not of the network that the checkpoint's config names.
    """
    arch = checkpoint.config["model"]["arch"]
    model = build(arch, len(checkpoint.classes))
    try:
        model.load_state_dict(checkpoint.ema)
    except RuntimeError as error:
        raise UserError(f"The checkpoint's weights are not those of a {arch}.") from error
    return model.eval()
