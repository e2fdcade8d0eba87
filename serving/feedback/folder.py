"""Feedback in a folder: PLACE/YYYY-MM-DD/ID.json, and the picture beside it."""

import errno
import os
import re
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from serving.feedback.place import DAY, FILE, OutOfSpace, Unavailable

# A file that is being written. One that is older than LEFT_S is of a gateway that was killed.
PART = re.compile(rf"\.{FILE.pattern}\.[0-9a-f]{{8}}\.part")
LEFT_S = 600.0
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class FolderPlace:
    """A folder of this machine, or a volume."""

    def __init__(self, path: str) -> None:
        self.path = Path(path)

    def find(self, day: str, identity: str) -> dict[str, int]:
        with failures():
            # At most a document and one picture for each format. A reviewer may take them away meanwhile.
            sizes = {path.name: size_of(path) for path in (self.path / day).glob(f"{identity}.*")}
        return {name: size for name, size in sizes.items() if size is not None}

    def write(self, day: str, name: str, data: bytes) -> None:
        folder = self.path / day
        # A name of its own: other gateways may store the same prediction in the same folder.
        beside = folder / f".{name}.{secrets.token_hex(4)}.part"
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
                bytes_of_one = size_of(entry)
                if bytes_of_one is None or is_removed(entry):
                    continue
                files, size = files + 1, size + bytes_of_one
                if files > max_files:
                    break
        return files, size

    def _entries(self) -> Iterator[os.DirEntry[str]]:
        if not self.path.exists():
            return
        with os.scandir(self.path) as days:
            for day in days:
                if DAY.fullmatch(day.name) and day.is_dir(follow_symlinks=False):
                    with suppress(FileNotFoundError), os.scandir(day.path) as files:
                        yield from (file for file in files if FILE.fullmatch(file.name) or PART.fullmatch(file.name))

    def close(self) -> None:
        """Nothing is open."""


def size_of(file: "Path | os.DirEntry[str]") -> int | None:
    """Return the size of a file, or None where it is gone."""
    try:
        return file.stat(follow_symlinks=False).st_size
    except FileNotFoundError:
        return None


def is_removed(file: "os.DirEntry[str]") -> bool:
    """Remove a file that a gateway which was killed has left half written, and return whether it was one."""
    if not PART.fullmatch(file.name):
        return False
    with suppress(FileNotFoundError):
        if time.time() - file.stat(follow_symlinks=False).st_mtime <= LEFT_S:
            return False  # another gateway may be writing it
        Path(file).unlink()
    return True


@contextmanager
def failures() -> Iterator[None]:
    """Turn errors of the file system into those of a place."""
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            raise OutOfSpace(str(error.strerror)) from None
        raise Unavailable(str(error.strerror or error)) from None
