"""Refusals of an export that are known before torch is imported, which takes long."""

import json
from pathlib import Path
from typing import Any

from handler.components import FILE as COMPONENTS_FILE
from handler.files import UserError, sha256_file
from handler.release import check_name, read_release
from handler.runtimes.onnx_files import INT8_FILE
from training.data.trained_on import FILE as RECORD
from training.release.network_file import NETWORK, WEIGHTS
from training.release.reference import SAMPLE
from training.release.versions import refuse_other_checkpoint

FILES = {"MODEL_CARD.md", NETWORK, INT8_FILE, WEIGHTS, "release.json", RECORD, SAMPLE, COMPONENTS_FILE}


def read_evaluation(folder: Path, checkpoint: Path) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    """Return what `evaluate` wrote about a checkpoint: its report on the test split, and its decisions by subject.

    None stands for what is not there or is of another checkpoint or split.

    Raises:
        UserError: a file is not JSON, or there is no checkpoint.
    """
    if not checkpoint.exists():
        raise UserError(f"There is no checkpoint {checkpoint}. Make one by: catsdogs train")
    sha256 = sha256_file(checkpoint)

    def read(name: str) -> dict[str, Any] | None:
        try:
            values = json.loads((folder / name).read_bytes())
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise UserError(f"{folder / name} is broken: run catsdogs evaluate again.") from error
        return values if isinstance(values, dict) and values.get("checkpoint_sha256") == sha256 else None

    report = read("report.json")
    decisions = {subject: read(name) for subject, name in (("resize", "rules.json"), ("size", "sizes.json"))}
    measured = {subject: values for subject, values in decisions.items() if values is not None}
    return report if report and report.get("split") == "test" else None, measured or None


def refuse_target(out: Path, name: str, version: str, checkpoint_sha256: str | None, replace: bool) -> None:
    """Refuse a release that could not be addressed, or could not be written to `out`.

    Raises:
        UserError: the name or version is none, `out` is in the way, or the version was made of another checkpoint.
    """
    check_address(name, version)
    refuse_other_things(out.resolve())
    if not replace and checkpoint_sha256 is not None:
        refuse_other_checkpoint(out.resolve(), version, checkpoint_sha256)


def check_address(name: str, version: str) -> None:
    """Raise UserError where a name or version could not be part of an address."""
    try:
        for word in (name, version):
            check_name(word)
    except ValueError as error:
        raise UserError(f"A release's name and version become part of its address: {error}") from error


def refuse_other_things(out: Path) -> None:
    """Raise UserError where `out` is there and is not a release, or holds more: it will be deleted."""
    if not out.exists():
        return
    if not out.is_dir():
        raise UserError(f"{out} is not a folder. Name one for the release.")
    if out.is_mount():
        raise UserError(f"{out} is a mounted folder, which cannot be replaced as a whole. Name a folder in it.")
    names = {path.name for path in out.iterdir()}
    if others := sorted(names - FILES):
        raise UserError(f"{out} holds {others[0]}, which is of no release, and would be lost. Name another folder.")
    if names:
        read_release(out)
