"""Feedback in a folder: PLACE/YYYY-MM-DD/ID.json, and the picture beside it."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from serving.feedback.place import DAY, FILE, OutOfSpace, Unavailable

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class FolderPlace:
    """A folder of this machine, or a volume."""

    def __init__(self, path: str) -> None:
        self.path = Path(path)

    def find(self, day: str, identity: str) -> dict[str, int]:
        with failures():
            # At most a document and one picture for each format.
            return {path.name: path.stat().st_size for path in (self.path / day).glob(f"{identity}.*")}

    def write(self, day: str, name: str, data: bytes) -> None:
        folder = self.path / day
        beside = folder / f".{name}.part"
        with failures():
            for made in (self.path, folder):
                made.mkdir(mode=0o770, exist_ok=True)
            try:
                beside.write_bytes(data)
                beside.chmod(0o640)
                beside.replace(folder / name)
            except OSError:
                beside.unlink(missing_ok=True)
                raise

    def remove(self, day: str, name: str) -> None:
        with failures():
            (self.path / day / name).unlink(missing_ok=True)

    def count(self, max_files: int) -> tuple[int, int]:
        files = size = 0
        with failures():
            for entry in self._entries():
                files, size = files + 1, size + entry.stat(follow_symlinks=False).st_size
                if files > max_files:
                    break
        return files, size

    def _entries(self) -> Iterator[os.DirEntry[str]]:
        if not self.path.exists():
            return
        with os.scandir(self.path) as days:
            for day in days:
                if DAY.fullmatch(day.name) and day.is_dir(follow_symlinks=False):
                    with os.scandir(day.path) as files:
                        yield from (file for file in files if FILE.fullmatch(file.name))

    def close(self) -> None:
        """Nothing is open."""


@contextmanager
def failures() -> Iterator[None]:
    """Turn errors of the file system into those of a place."""
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            raise OutOfSpace(str(error.strerror)) from None
        raise Unavailable(str(error.strerror or error)) from None
