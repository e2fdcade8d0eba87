"""Earlier manifests of a data folder, which `prepare` keeps beside the current one as manifest-<sha256>.csv."""

import dataclasses
import hashlib
from pathlib import Path

from handler.files import UserError, sha256_file, write_atomic
from training.data.manifest import Manifest, Picture, parse_pictures

DIGITS = 16


def earlier_name(sha256: str) -> str:
    return f"manifest-{sha256[:DIGITS]}.csv"


def keep(folder: Path) -> None:
    """Keep the current manifest of a data folder under its sha256, before another takes its place."""
    current = folder / "manifest.csv"
    if current.exists() and not (kept := folder / earlier_name(sha256_file(current))).exists():
        write_atomic(kept, current.read_bytes())


def find_earlier(manifest: Manifest, sha256: str) -> list[Picture] | None:
    """Return the pictures of the manifest with this sha256, the current one or one kept beside it; None without one.

    Raises:
        UserError: the kept file was changed.
    """
    if manifest.sha256 == sha256:
        return manifest.pictures
    if manifest.folder is None or not (path := manifest.folder / earlier_name(sha256)).exists():
        return None
    raw = path.read_bytes()
    if hashlib.sha256(raw).hexdigest() != sha256:
        raise UserError(f"{path} was changed after it was kept. Put it back as it was.")
    return parse_pictures(raw)


def restore(manifest: Manifest, sha256: str) -> Manifest | None:
    """Return the earlier manifest with this sha256, its pictures where they lie now; None where it is not kept.

    Raises:
        UserError: the kept file was changed, or one of its pictures is gone.
    """
    pictures = find_earlier(manifest, sha256)
    if pictures is None:
        return None
    paths = {picture.sha256: picture.path for picture in manifest.pictures}
    moved = [dataclasses.replace(picture, path=paths.get(picture.sha256, picture.path)) for picture in pictures]
    gone = [picture for picture in moved if picture.sha256 not in paths and not (manifest.root / picture.path).exists()]
    if gone:
        raise UserError(
            f"{len(gone)} of the {len(moved)} pictures of {earlier_name(sha256)} are gone, for example {gone[0].path}."
        )
    return dataclasses.replace(manifest, pictures=moved, sha256=sha256)
