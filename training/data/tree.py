"""A tree of folders as it lies on the disk, and which of its files look like pictures."""

import os
import stat
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from handler.files import UserError
from handler.sniff import is_picture

SUFFIXES = {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".gif", ".tif", ".tiff", ".bmp"}
# macOS puts the attributes of a zip's files there, under their names.
NOT_OURS = {"__MACOSX"}


@dataclass(frozen=True)
class Folder:
    """A folder, the folders in it and its files, each sorted by name."""

    path: Path
    folders: list["Folder"]
    files: list[Path]

    def walk(self) -> Iterator["Folder"]:
        """Yield the folder itself and all below it."""
        yield self
        for folder in self.folders:
            yield from folder.walk()

    @cached_property
    def picture(self) -> Path | None:
        """The first of its own files that looks like a picture."""
        return next(filter(looks_like_picture, self.files), None)

    @cached_property
    def any_picture(self) -> Path | None:
        """A picture in it or below it."""
        return next((folder.picture for folder in self.walk() if folder.picture), None)


def looks_like_picture(path: Path) -> bool:
    """Tell whether the file has a picture's suffix or begins as one; whether it can be decoded is told by a scan."""
    if path.suffix.lower() in SUFFIXES:
        return True
    try:
        if not path.is_file():
            return False
        with path.open("rb") as file:
            return is_picture(file.read(512))
    except OSError:
        return False


def read_tree(path: Path, without: Collection[Path] = (), above: frozenset[tuple[int, int]] = frozenset()) -> Folder:
    """Read a folder and all below it.

    Hidden files and folders are left out. Links to folders are followed, but not in circles.

    Args:
        without: folders that are left out.
        above: device and inode of the folders that this one lies in.

    Raises:
        UserError: a folder cannot be read.
    """
    try:
        status = path.stat()
        with os.scandir(path) as entries:
            seen = sorted((entry for entry in entries if not entry.name.startswith(".")), key=lambda entry: entry.name)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}.") from error
    above |= {(status.st_dev, status.st_ino)}
    folders, files = [], []
    for entry in seen:
        if entry.name in NOT_OURS or Path(entry.path) in without:
            continue
        try:
            below = entry.stat()
        except OSError:  # a link to nowhere or to itself: as a file, it is set aside with the reason
            files.append(Path(entry.path))
            continue
        if not stat.S_ISDIR(below.st_mode):
            files.append(Path(entry.path))
        elif (below.st_dev, below.st_ino) not in above:
            folders.append(read_tree(Path(entry.path), without, above))
    return Folder(path, folders, files)
