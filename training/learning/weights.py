"""Weights to start from: a state dict, a checkpoint or a release, whose last layer is undone of its temperature.

`export` divides the last layer by the temperature T, so that the released probabilities are calibrated. Training that
went on from that layer would begin with logits 1/T times as large as those that were trained.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch

from handler.files import UserError, first_line
from handler.release import verify_file

State = dict[str, torch.Tensor]

RELEASED = "model.safetensors"
# Key of the safetensors file's own metadata, so that the file can be moved away from its release.json.
TEMPERATURE = "temperature"


@dataclass(frozen=True, slots=True)
class Weights:
    """A state dict, and what is known of it."""

    state: State
    temperature: float = 1.0
    """Temperature that its last layer was divided by."""
    classes: list[str] | None = None
    """In the order of its outputs, where that is known."""


def weights_file(path: Path) -> Path:
    """Return the file that `model.weights` names: a release's folder stands for its model.safetensors."""
    return path / RELEASED if path.is_dir() else path


def read_weights(path: Path) -> Weights:
    """Read .safetensors, or .pt without running any code from it; of a checkpoint the averaged weights.

    Raises:
        UserError: the file is missing, holds something else, or is not the one that the release.json beside it names.
    """
    path = weights_file(path)
    release = release_of(path)
    temperature, classes = 1.0, None
    try:
        if path.suffix == ".safetensors":
            state: Any = safetensors.torch.load_file(path)
            with safetensors.safe_open(path, "pt") as file:
                temperature = float((file.metadata() or {}).get(TEMPERATURE, 0)) or _stated(release)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise UserError(f"There is no weights file {path}.") from error
    except Exception as error:
        raise UserError(f"{path} is not a state dict that can be loaded safely: {first_line(error)}") from error
    if isinstance(state, dict) and {"ema", "manifest_sha256"} <= state.keys():
        classes, state = state["classes"], state["ema"]
    elif release is not None:
        classes = release["classes"]
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise UserError(f"{path} is not a state dict: tensors by name.")
    return Weights(state, temperature, classes)


def release_of(path: Path) -> dict[str, Any] | None:
    """Return what the release.json beside a release's weights says; None where the file is of no release.

    Raises:
        UserError: it is broken, or names other weights.
    """
    path = weights_file(path)
    beside = path.with_name("release.json")
    if path.name != RELEASED or not beside.exists():
        return None
    try:
        values: dict[str, Any] = json.loads(beside.read_bytes())
        sha256 = values["files"][RELEASED]
        values["classes"]
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{beside} is not a release of catsdogs.") from error
    verify_file(path.parent, RELEASED, sha256)
    return values


def _stated(release: dict[str, Any] | None) -> float:
    return float(release.get("temperature") or 1.0) if release else 1.0
