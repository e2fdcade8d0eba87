"""The place where a server keeps feedback, with a folder for each day."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, Protocol


class Unreadable(Exception):
    """A file of a place that is not read. Its text is the reason, without a full stop."""


class Entry(NamedTuple):
    """The file of a record."""

    day: str
    id: str


class Place(Protocol):
    """A folder or a bucket that a review reads from."""

    def entries(self) -> Iterator[Entry]:
        """Yield the files of records by day and id."""
        ...

    def read(self, day: str, name: str, limit: int) -> bytes:
        """Return the bytes of a file.

        Raises:
            Unreadable: it is missing, larger than `limit` bytes, or no regular file.
        """
        ...

    def path(self, day: str, name: str) -> Path | None:
        """Return where the file lies on this machine; None in a bucket."""
        ...
