"""A file on its way to being whole: it lies beside its target, one process at a time writes to it, a kill leaves it."""

import fcntl
import os
import time
import zipfile
from collections.abc import Callable
from io import FileIO
from pathlib import Path

from handler.files import UserError, sha256_file

POLL_S = 0.2


class Part:
    """Open and locked while it is entered."""

    def __init__(self, target: Path, deadline: float, say: Callable[[str], None]) -> None:
        """
        Args:
            deadline: until when to wait for another process that has it, by time.monotonic().
        """
        self.target, self.path = target, target.with_name(f".{target.name}.part")
        self.deadline, self.say = deadline, say
        self.file: FileIO

    def __enter__(self) -> "Part":
        told = False
        while not self._open():
            if not told:
                self.say(f"Another process is writing {self.target}: waiting for it.")
                told = True
            if time.monotonic() > self.deadline:
                raise UserError(f"Another process was writing {self.target}, and did not end in time.")
            time.sleep(POLL_S)
        return self

    def __exit__(self, *reason: object) -> None:
        if self.path.exists() and not self.path.stat().st_size:
            self.path.unlink()
        self.file.close()

    def _open(self) -> bool:
        self.file = self.path.open("a+b", buffering=0)
        try:
            # A process that is killed gives its lock up.
            fcntl.flock(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # The one before may have renamed or removed what was opened here.
            if os.path.samestat(os.fstat(self.file.fileno()), self.path.stat()):
                return True
        except (BlockingIOError, FileNotFoundError):
            pass
        self.file.close()
        return False

    @property
    def size(self) -> int:
        return os.fstat(self.file.fileno()).st_size

    def append(self, block: bytes) -> None:
        left = memoryview(block)
        while left:
            left = left[self.file.write(left) :]

    def clear(self) -> None:
        self.file.truncate(0)

    def sha256(self) -> str:
        return sha256_file(self.path)

    def describe(self) -> str:
        """Return a sentence on what the file is where it is not an archive, else an empty string."""
        if zipfile.is_zipfile(self.path):
            return ""
        with self.path.open("rb") as file:
            begins = file.read(4) == b"PK\x03\x04"
        if begins:
            return f" It was cut off: {self.size} bytes, which begin as an archive and do not end as one."
        return f" It is no archive at all, but {self.size} bytes of something else."

    def keep(self) -> None:
        """Gives it its name, for good: a power cut leaves it or nothing."""
        os.fsync(self.file.fileno())
        self.path.replace(self.target)
        folder = os.open(self.target.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
