"""A file on its way to being whole: it lies beside its target, one process at a time writes to it, a kill leaves it."""

import fcntl
import hashlib
import os
import time
from collections.abc import Callable
from io import FileIO
from pathlib import Path

from common.download.failures import Busy

POLL_S = 0.2


class Part:
    """A part file, open and locked while it is entered."""

    def __init__(self, target: Path, path: Path, deadline: float, say: Callable[[str], None]) -> None:
        """
        Args:
            target: the name that the file gets when it is whole.
            path: its name until then, in the same folder.
            deadline: until when to wait for another process that has it, by time.monotonic().
        """
        self.target, self.path = target, path
        self.deadline, self.say = deadline, say
        self.file: FileIO

    def __enter__(self) -> "Part":
        announced = False
        while not self._open():
            if not announced:
                self.say(f"Another process is writing {self.target}: waiting for it.")
                announced = True
            if time.monotonic() > self.deadline:
                raise Busy(f"Another process was writing {self.target}, and did not end in time.")
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
        with self.path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def keep(self) -> None:
        """Gives it its name, for good: a power cut leaves it or nothing."""
        os.fsync(self.file.fileno())
        self.path.replace(self.target)
        folder = os.open(self.target.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
