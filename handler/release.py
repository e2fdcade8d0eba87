"""release.json: what a model is, and the proof that its files are the ones that were measured."""

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from handler.calibration import parse_uncalibrated
from handler.features import Reference, parse_reference
from handler.files import UserError, first_line, sha256_file
from handler.preprocess import InputSpec, Pixels
from handler.runtimes.runtime import FP16, FP32, INT8
from handler.unsure import parse_thresholds

# What TorchServe takes as a model's name, which is also part of its address; versions are held to the same.
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
RUN_ID = re.compile(r"[A-Za-z0-9_.-]{1,128}")
SHA256 = re.compile(r"[0-9a-f]{64}")
# The verdict of a precision that may be served (common/verdicts.py, which an archive does not hold).
PASS = "PASS"  # noqa: S105
MAX_BYTES = 16 * 2**20
MAX_CLASSES = 10_000
MIN_SIZE, MAX_SIZE = 16, 1024
# What `golden_pixels` makes; no network's logit comes near the other.
GOLDEN_PICTURES, MAX_LOGIT = 4, 1e6
# Of a probability, by precision. Winograd's rounding moves logits by up to 2e-3, and the golden answers of int8 differ
# by up to 0.014 between runtimes; a wrong weight moves them by more.
GOLDEN_TOLERANCE = {FP32: 5e-3, FP16: 5e-3, INT8: 0.05}
# An answer names all of so many classes, and the most probable few of more.
FEW = 10
TOP = 5


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
    golden_logits: dict[str, list[list[float]]]
    """Logits that `golden_pixels` must give, by precision: fp32, and int8 where the release has it."""
    precision: str = FP32
    """Precision that is recommended for x86-64 CPUs."""
    names: dict[str, str] = field(default_factory=dict)
    """Display name of each class that has another than itself."""
    run_id: str | None = None
    """Id of the training run in its tracker, where it was tracked."""
    reference: Reference | None = None
    """Distribution of the reference pictures, with which drift is judged."""
    unsure: dict[str, float] = field(default_factory=dict)
    """Probability below which an answer is unsure, by precision."""
    uncalibrated: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Conditions of a picture in which the probability is not calibrated, by precision."""


def read_release(folder: Path) -> Release:
    """Reads release.json.

    Raises:
        UserError: it is missing, or a member that answering needs is not as it must be.
    """
    path = folder / "release.json"
    try:
        return parse_release(path.read_bytes())
    except FileNotFoundError as error:
        if (scratch_of(folder.resolve()) / "old").exists():
            raise UserError(f"{path} is missing: an export was killed as it replaced it. Export once more.") from error
        raise UserError(f"{path} is missing.") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is not a release of catsdogs: {first_line(error)}") from error


def parse_release(data: bytes) -> Release:
    """The parts of a release.json that answering needs, each of which is checked.

    Raises:
        ValueError: one sentence says which is wrong.
        RecursionError: it is nested too deeply.
    """
    if len(data) > MAX_BYTES:
        raise ValueError(f"it has {len(data)} bytes, more than {MAX_BYTES}.")
    values: Any = json.loads(data)
    if not isinstance(values, dict):
        raise ValueError("it is no JSON object.")
    classes, files = _classes(values.get("classes")), _files(values.get("files"))
    return Release(
        name=check_name(values.get("name")),
        version=check_name(values.get("version")),
        classes=classes,
        input=_input(values.get("input")),
        weights_sha256=files["model.safetensors"],
        files=files,
        golden_logits=_goldens(values, len(classes)),
        precision=_precision(values),
        names=_names(values.get("names", {}), classes),
        run_id=_run_id(values.get("run_id")),
        reference=parse_reference(values.get("reference"), classes),
        unsure=parse_thresholds(values.get("unsure")),
        uncalibrated=parse_uncalibrated(values.get("robustness")),
    )


def _classes(value: object) -> list[str]:
    if not (
        isinstance(value, list)
        and 2 <= len(value) <= MAX_CLASSES
        and all(isinstance(label, str) and label.strip() and label.isprintable() for label in value)
        and len(set(value)) == len(value)
    ):
        raise ValueError(f"classes must be a list of 2 to {MAX_CLASSES} names, each another and none empty.")
    return value


def _names(value: object, classes: list[str]) -> dict[str, str]:
    if not (
        isinstance(value, dict)
        and value.keys() <= set(classes)
        and all(isinstance(name, str) and name.strip() and name.isprintable() for name in value.values())
    ):
        raise ValueError("names must give a display name, which is not empty, by class.")
    return value


def _run_id(value: object) -> str | None:
    if value is not None and not (isinstance(value, str) and RUN_ID.fullmatch(value)):
        raise ValueError("run_id must be the id of a run: up to 128 letters, digits and - _ .")
    return value


def _input(value: object) -> InputSpec:
    size, resize = (value.get("size"), value.get("resize", "squeeze")) if isinstance(value, dict) else (None, None)
    if type(size) is not int or not MIN_SIZE <= size <= MAX_SIZE:
        raise ValueError(f"input.size must be a whole number from {MIN_SIZE} to {MAX_SIZE}.")
    if resize not in ("squeeze", "crop"):
        raise ValueError("input.resize must be squeeze or crop.")
    return InputSpec(size, resize)


def _files(value: object) -> dict[str, str]:
    if not (
        isinstance(value, dict)
        and all(NAME.fullmatch(name) for name in value)
        and all(isinstance(digest, str) and SHA256.fullmatch(digest) for digest in value.values())
    ):
        raise ValueError("files must give the sha256 of each file, 64 hexadecimal digits, by a name without a folder.")
    if "model.safetensors" not in value:
        raise ValueError("files must name model.safetensors.")
    return value


def _goldens(values: dict[str, Any], classes: int) -> dict[str, list[list[float]]]:
    goldens = {FP32: _golden("golden_logits", values.get("golden_logits"), classes)}
    if INT8 in _precisions(values):
        where = f"precisions.{INT8}.golden_logits"
        goldens[INT8] = _golden(where, values["precisions"][INT8].get("golden_logits"), classes)
    return goldens


def _golden(where: str, value: object, classes: int) -> list[list[float]]:
    if not (
        isinstance(value, list)
        and len(value) == GOLDEN_PICTURES
        and all(isinstance(row, list) and len(row) == classes for row in value)
        and all(type(number) in (int, float) and abs(number) < MAX_LOGIT for row in value for number in row)
    ):
        raise ValueError(f"{where} must be {GOLDEN_PICTURES} lists of {classes} numbers, one for each class.")
    return value


def _precisions(values: dict[str, Any]) -> list[str]:
    """Return the precisions that the release has beside fp32."""
    value = values.get("precisions", {})
    if not isinstance(value, dict) or not all(isinstance(facts, dict) for facts in value.values()):
        raise ValueError("precisions must give an object for each precision.")
    return [name for name, facts in value.items() if facts.get("verdict") == PASS]


def _precision(values: dict[str, Any]) -> str:
    value = values.get("precision", FP32)
    if value not in (FP32, *_precisions(values)):
        raise ValueError("precision must be fp32, or one of precisions whose verdict is PASS.")
    return str(value)


def check_name(name: object) -> str:
    """A model's name or version as it is; ValueError where TorchServe would not take it."""
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise ValueError(f"{name!r} must begin with a letter or digit, and hold only these and - _ .")
    return name


def scratch_of(target: Path) -> Path:
    """Return the path at which a release or archive is made before it is renamed to `target`, a resolved path."""
    return target.parent / f".{target.name}.new"


def verify_file(folder: Path, name: str, sha256: str) -> None:
    """Raises UserError where a file is not the one that release.json names."""
    path = folder / name
    if not path.exists():
        raise UserError(f"{path} is missing.")
    if (actual := sha256_file(path)) != sha256:
        raise UserError(f"{path} is corrupted: its sha256 is {actual}, release.json says {sha256}.")


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
