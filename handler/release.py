"""release.json: what a model is, and the proof that its files are the ones that were measured."""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from handler.files import UserError, sha256_file
from handler.preprocess import InputSpec, Pixels

# What TorchServe takes as a model's name, which is also part of its address; versions are held to the same.
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


@dataclass(frozen=True, slots=True)
class Release:
    """The parts of release.json that answering needs."""

    name: str
    version: str
    classes: list[str]
    input: InputSpec
    weights_sha256: str
    files: dict[str, str]
    """sha256 by file name."""
    golden_logits: list[list[float]]
    """What `golden_pixels` must give."""


def read_release(folder: Path) -> Release:
    """Reads release.json.

    Raises:
        UserError: it is missing or not one of ours.
    """
    path = folder / "release.json"
    try:
        values: dict[str, Any] = json.loads(path.read_bytes())
        return Release(
            name=check_name(values["name"]),
            version=check_name(values["version"]),
            classes=values["classes"],
            input=InputSpec(**values["input"]),
            weights_sha256=values["files"]["model.safetensors"],
            files=values["files"],
            golden_logits=values["golden_logits"],
        )
    except FileNotFoundError as error:
        if (scratch_of(folder.resolve()) / "old").exists():
            raise UserError(f"{path} is missing: an export was killed as it replaced it. Export once more.") from error
        raise UserError(f"{path} is missing.") from error
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path} is not a release of catsdogs: {error!r}") from error


def check_name(name: str) -> str:
    """A model's name or version as it is; ValueError where TorchServe would not take it."""
    if not NAME.fullmatch(name):
        raise ValueError(f"{name!r} must begin with a letter or digit, and hold only these and - _ .")
    return name


def scratch_of(target: Path) -> Path:
    """Where a release or archive is made before it is renamed to `target`, a resolved path."""
    return target.parent / f".{target.name}.new"


def verify_file(folder: Path, name: str, sha256: str) -> None:
    """Raises UserError where a file is not the one that release.json names."""
    path = folder / name
    if not path.exists():
        raise UserError(f"{path} is missing.")
    if (found := sha256_file(path)) != sha256:
        raise UserError(f"{path} is corrupted: its sha256 is {found}, release.json says {sha256}.")


def golden_pixels(size: int) -> Pixels:
    """Four fixed patterns, by whole numbers alone, so that they are the same on every machine.

    Returns:
        uint8 array of shape (4, size, size, 3).
    """
    y, x, c = np.meshgrid(np.arange(size), np.arange(size), np.arange(3), indexing="ij")
    patterns = [
        255 * x // size + 20 * c,
        255 * ((x - size // 2) ** 2 + (y - size // 3) ** 2) // size**2 + 40 * c,
        (x * (c + 1) * 3 + y * 5) % 256,
        ((x // 9 + y // 7) % 2) * (200 - 60 * c) + 20,
    ]
    return np.stack([np.clip(pattern, 0, 255) for pattern in patterns]).astype(np.uint8)
