"""Releases of one name: no version gets other weights unnoticed, and the last few stay for going back.

model-store/catsdogs is the current release. What it replaces goes to model-store/releases/catsdogs-<version>.
"""

import json
import os
import shutil
import zipfile
from pathlib import Path

from handler.files import UserError
from handler.release import Release, parse_release, read_release, scratch_of

FOLDER = "releases"
WEIGHTS = "model.safetensors"
REPLACE = "Name another --version, or replace it by --replace."


def kept_folder(out: Path, version: str) -> Path:
    """Return where the release `version` goes once another takes its place in `out`."""
    return out.parent / FOLDER / f"{out.name}-{version}"


def refuse_other_weights(out: Path, version: str, weights_sha256: str) -> None:
    """Refuse a release whose version is that of the release in `out`, or of one kept beside it, with other weights.

    Raises:
        UserError: there is one; nothing was changed.
    """
    for folder in (out, kept_folder(out, version)):
        if not (folder / "release.json").exists():
            continue
        there = read_release(folder)
        if there.version == version and there.weights_sha256 != weights_sha256:
            raise UserError(f"{folder} is version {version} with other weights. {REPLACE}")


def refuse_other_checkpoint(out: Path, version: str, checkpoint_sha256: str) -> None:
    """Refuse a release as `refuse_other_weights` does, before its weights are made: where another checkpoint made it.

    Raises:
        UserError: there is one; nothing was changed.
    """
    for folder in (out, kept_folder(out, version)):
        if not (folder / "release.json").exists():
            continue
        there = read_release(folder)
        made_of = json.loads((folder / "release.json").read_bytes()).get("checkpoint_sha256")
        if there.version == version and made_of not in (None, checkpoint_sha256):
            raise UserError(f"{folder} is version {version}, made of another checkpoint. {REPLACE}")


def refuse_other_archive(out: Path, release: Release) -> None:
    """Refuse an archive in whose place another one with this name and version, but other weights, lies.

    Raises:
        UserError: there is one; nothing was changed.
    """
    try:
        with zipfile.ZipFile(out) as archive:
            there = parse_release(archive.read("release.json"))
    except (OSError, ValueError, KeyError, RecursionError, NotImplementedError, zipfile.BadZipFile):
        return  # nothing that anybody could go back to
    same = (there.name, there.version) == (release.name, release.version)
    if same and there.weights_sha256 != release.weights_sha256:
        raise UserError(
            f"{out} is {there.name} {there.version} with other weights. Export the release under another version, or "
            "replace the archive by --replace."
        )


def keep_current(out: Path, version: str) -> None:
    """Keep the release in `out` under its version, before one of another version takes its place.

    It is linked or copied, then renamed: a kill leaves `out` as it is, and the kept one whole or missing.
    """
    if not (out / "release.json").exists() or (there := read_release(out)).version == version:
        return
    kept = kept_folder(out, there.version)
    scratch = scratch_of(kept)
    shutil.rmtree(scratch, ignore_errors=True)
    try:
        shutil.copytree(out, scratch, copy_function=_link_or_copy)
        if kept.exists():
            shutil.rmtree(kept)
        scratch.rename(kept)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def forget(out: Path, version: str) -> None:
    """Remove the kept release of a version that is the current one again."""
    shutil.rmtree(kept_folder(out, version), ignore_errors=True)


def prune(out: Path, keep: int) -> list[str]:
    """Remove all kept releases of `out` but the `keep` that were made last, and return the versions removed."""
    made: list[tuple[float, str]] = []
    for path in (out.parent / FOLDER).glob(f"{out.name}-*/release.json"):
        try:
            version = str(json.loads(path.read_bytes())["version"])
        except (ValueError, KeyError, TypeError):
            continue  # not ours to remove
        if path.parent == kept_folder(out, version):  # and not of another name that begins so
            made.append((path.stat().st_mtime, version))
    removed = [version for _, version in sorted(made, reverse=True)[keep:]]
    for version in removed:
        shutil.rmtree(kept_folder(out, version))
    return removed


def _link_or_copy(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # not every file system has links
        shutil.copy2(source, target)
