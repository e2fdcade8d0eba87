"""A place in which feedback is stored: a folder, or a bucket. Each has days, and files in them."""

import re
from typing import Protocol

# The files of this contract; others that lie in the same place are neither counted nor touched.
DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
FILE = re.compile(r"[0-9a-f]{32}\.[a-z]{2,5}")


class Unavailable(Exception):
    """The place cannot be reached, or refuses. Its text is the reason, without a full stop."""


class OutOfSpace(Exception):
    """There is no room left where the place lies."""


class Place(Protocol):
    """Operations of a place, which one thread calls. Each may raise Unavailable or OutOfSpace."""

    def find(self, day: str, identity: str) -> dict[str, int]:
        """Return the sizes of the files of one prediction by their names."""

    def write(self, day: str, name: str, data: bytes) -> None:
        """Write a file whole or not at all, in place of an earlier one."""

    def remove(self, day: str, name: str) -> None: ...

    def count(self, max_files: int) -> tuple[int, int]:
        """Return the numbers of files and of bytes. Counting may end once there are more than `max_files`."""

    def close(self) -> None: ...
