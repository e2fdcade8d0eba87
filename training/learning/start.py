"""The start of a run: another run's checkpoint or a release, and the pictures that it has seen."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from handler.files import UserError, sha256_file
from training.config import Config
from training.data import trained_on as records
from training.data.earlier import find_earlier
from training.data.manifest import Manifest, earlier_name
from training.learning.checkpoint import Checkpoint, load_checkpoint
from training.learning.model import State
from training.learning.weights import release_of, weights_file


@dataclass(frozen=True, slots=True)
class Start:
    """A checkpoint or release that is started or learnt from."""

    facts: dict[str, Any]
    """Facts that its descendants record about it."""
    trained_on: bytes | None
    """None where nobody knows."""
    model: State | None = None
    """State of a checkpoint's trained module, layers that serve only training included."""


def read_start(weights: str | None, manifest: Manifest) -> Start | None:
    """Return what `model.weights` names where that is a checkpoint or a release; None for any other.

    Raises:
        UserError: pictures that are tested or validated on now were trained on, or a checkpoint is too old to tell.
    """
    start = _read(weights, manifest)
    if start is not None and start.trained_on is not None:
        records.refuse_seen(manifest, start.trained_on, str(weights))
    return start


def _read(weights: str | None, manifest: Manifest) -> Start | None:
    path = Path(weights or "none")
    return _of_checkpoint(path, manifest) if path.suffix == ".pt" else _of_release(path, manifest)


def _of_checkpoint(path: Path, manifest: Manifest) -> Start | None:
    try:
        checkpoint = load_checkpoint(path)
    except UserError:
        return None  # a state dict; who loads it says what may be wrong with it
    facts = {
        "sha256": sha256_file(path),
        "manifest_sha256": checkpoint.manifest_sha256,
        "epochs": checkpoint.epoch,
        "config": checkpoint.config,
        "git_sha": checkpoint.git_sha,
        "teacher": checkpoint.teacher,
        "start": checkpoint.start,
        **({"averaged": checkpoint.averaged} if checkpoint.averaged else {}),
    }
    return Start(facts, known_pictures(checkpoint, manifest, str(path)), checkpoint.model)


def _of_release(path: Path, manifest: Manifest) -> Start | None:
    release = release_of(path)
    if release is None:
        return None
    names = ("name", "version", "manifest_sha256", "epochs", "config", "git_sha", "teacher", "start")
    facts = {"sha256": release["files"]["model.safetensors"], **{name: release.get(name) for name in names}}
    facts |= {"averaged": release["averaged"]} if release.get("averaged") else {}
    pictures = released_pictures(weights_file(path).parent, release, manifest)
    return Start(facts if pictures is not None else {**facts, "pictures_known": False}, pictures)


def unseen_by_start(config: Config, manifest: Manifest) -> Manifest:
    """Return the manifest without the val and test pictures that the run's start or teacher was trained on."""
    named = (config.model.weights, config.distill.teacher_weights if config.distill.teacher else None)
    for weights in named:
        start = _read(weights, manifest)
        if start is not None and start.trained_on is not None:
            manifest = records.leave_seen_out(manifest, start.trained_on)
    return manifest


def unknown_ancestor(start: Mapping[str, Any] | None) -> str | None:
    """Return the release in a line of starts of which nobody knows on which pictures it was trained, or None."""
    while start is not None:
        if start.get("pictures_known") is False:
            return f"{start.get('name')} {start.get('version')}"
        start = start.get("start")
    return None


def known_pictures(checkpoint: Checkpoint, manifest: Manifest, who: str) -> bytes:
    """Return the record of a checkpoint; of one without, the train split of the manifest that it was trained with.

    Raises:
        UserError: it has no record, and that manifest is not kept.
    """
    if checkpoint.trained_on is not None:
        return checkpoint.trained_on
    pictures = find_earlier(manifest, checkpoint.manifest_sha256)
    if pictures is None:
        raise UserError(
            f"{who} was trained with another manifest and does not say on which pictures, so it may have seen those "
            f"that are tested now. Put that manifest into {manifest.folder or 'the data folder'} as "
            f"{earlier_name(checkpoint.manifest_sha256)}."
        )
    return records.record(picture.sha256 for picture in pictures if picture.split == "train")


def released_pictures(folder: Path, release: dict[str, Any], manifest: Manifest) -> bytes | None:
    """Return the record of a release, from its own file or from the manifest it names where that is kept."""
    if records.FILE in release["files"]:
        try:
            return (folder / records.FILE).read_bytes()
        except OSError as error:
            raise UserError(f"{folder / records.FILE} cannot be read: {error.strerror}.") from error
    pictures = find_earlier(manifest, release.get("manifest_sha256", ""))
    if pictures is None:
        return None
    return records.record(picture.sha256 for picture in pictures if picture.split == "train")


def pictures_of_run(config: Config, manifest: Manifest, start: Start | None) -> bytes:
    """Return the record of a run: its train split, and what its start and its teacher were trained on.

    Raises:
        UserError: as `read_start`, of the teacher.
    """
    own = records.record(picture.sha256 for picture in manifest.split("train"))
    teacher = read_start(config.distill.teacher_weights, manifest) if config.distill.teacher else None
    inherited = [each.trained_on for each in (start, teacher) if each is not None and each.trained_on is not None]
    return records.union(own, *inherited)
