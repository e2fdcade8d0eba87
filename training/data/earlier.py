"""Earlier manifests of a data folder, which `prepare` keeps beside the current one as manifest-<sha256>.csv."""

import dataclasses

from handler.files import UserError
from training.data.manifest import Manifest, Picture, earlier_name, read_earlier
from training.data.shards import exists


def find_earlier(manifest: Manifest, sha256: str) -> list[Picture] | None:
    """Return the pictures of the manifest with this sha256, the current one or one kept beside it; None without one.

    Raises:
        UserError: the kept file was changed.
    """
    if manifest.sha256 == sha256:
        return manifest.pictures
    if manifest.folder is None or not (manifest.folder / earlier_name(sha256)).exists():
        return None
    return read_earlier(manifest.folder, sha256)


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
    gone = [picture for picture in moved if picture.sha256 not in paths and not exists(manifest.root / picture.path)]
    if gone:
        raise UserError(
            f"{len(gone)} of the {len(moved)} pictures of {earlier_name(sha256)} are gone, for example {gone[0].path}."
        )
    return dataclasses.replace(manifest, pictures=moved, sha256=sha256)
