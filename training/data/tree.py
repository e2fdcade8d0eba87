"""Trees of class folders: the files in them, and the folders that must hold some."""

import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

from handler.files import UserError


def find_files(folders: Sequence[Path]) -> tuple[list[Path], list[Path]]:
    """The files below the class folders of `folders`.

    Hidden ones are left out. Links to folders are followed, but not in circles.

    Returns:
        Every file once, sorted; and the folders that hold no folder, sorted.

    Raises:
        UserError: a folder is missing, cannot be read, or holds no files in class folders.
    """
    files: set[Path] = set()
    innermost: set[Path] = set()
    for folder in folders:
        if not folder.is_dir():
            raise UserError(f"{folder} is not a folder. Name a folder that holds one folder per class.")
        found = False
        for below, inside, names in _walk(folder):
            if below == folder:
                continue
            if not inside:
                innermost.add(below)
            files.update(below / name for name in names)
            found = found or bool(names)
        if not found:
            raise UserError(f"{folder} holds no class folders with pictures (expected {folder}/cat/1.jpg and so on).")
    return sorted(files), sorted(innermost)


def _walk(folder: Path, above: frozenset[tuple[int, int]] = frozenset()) -> Iterator[tuple[Path, bool, list[str]]]:
    """(folder, does it hold folders, its files) for it and those below."""
    try:
        status = folder.stat()
        with os.scandir(folder) as entries:
            seen = sorted((entry for entry in entries if not entry.name.startswith(".")), key=lambda entry: entry.name)
    except OSError as error:
        raise UserError(f"{folder} cannot be read: {error.strerror}.") from error
    above |= {(status.st_dev, status.st_ino)}
    inside, names = [], []
    for entry in seen:
        try:
            below = entry.stat()
        except OSError:  # a link to nowhere or to itself: as a file, it is set aside with the reason
            names.append(entry.name)
            continue
        if not stat.S_ISDIR(below.st_mode):
            names.append(entry.name)
        elif (below.st_dev, below.st_ino) not in above:
            inside.append(Path(entry.path))
    yield folder, bool(inside), names
    for path in inside:
        yield from _walk(path, above)
