"""The place where a server keeps feedback: a folder, or a prefix in a bucket, with a folder for each day."""

import os
import re
import stat
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import NamedTuple, Protocol

from common.review_csv import ID
from handler.files import UserError

DAY = re.compile(r"\d{4}-\d{2}-\d{2}")


class Unreadable(Exception):
    """A file of a place that is not read. Its text is the reason, without a full stop."""


class Entry(NamedTuple):
    """The file of a record."""

    day: str
    id: str
    size: int


class Place(Protocol):
    """What a review reads from."""

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


class Folder:
    """A folder of this machine. Links are not followed: they may lead anywhere."""

    def __init__(self, root: Path) -> None:
        if not root.is_dir():
            raise UserError(f"{root} is not a folder. Name the one that the server writes feedback to.")
        self.root = root

    def entries(self) -> Iterator[Entry]:
        for day in sorted(os.scandir(self.root), key=lambda entry: entry.name):
            if DAY.fullmatch(day.name) and day.is_dir(follow_symlinks=False):
                for file in sorted(os.scandir(day.path), key=lambda entry: entry.name):
                    id, _, suffix = file.name.partition(".")
                    if suffix == "json" and ID.fullmatch(id):
                        yield Entry(day.name, id, file.stat(follow_symlinks=False).st_size)

    def read(self, day: str, name: str, limit: int) -> bytes:
        try:
            # A pipe would be waited for without an end.
            descriptor = os.open(self.root / day / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError as error:
            raise Unreadable(f"it cannot be read: {error.strerror}") from error
        with open(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise Unreadable("it is no regular file")
            data = file.read(limit + 1)
        if len(data) > limit:
            raise Unreadable(f"it has more than {limit} bytes")
        return data

    def path(self, day: str, name: str) -> Path | None:
        return self.root / day / name


def open_place(
    name: str, endpoint: str | None = None, environment: Mapping[str, str] = os.environ
) -> AbstractContextManager[Place]:
    """Return the place that a name means: a folder, or s3://BUCKET/PREFIX.

    Raises:
        UserError: there is none of this name.
    """
    scheme, separator, _ = name.partition("://")
    if not separator:
        return nullcontext(Folder(Path(name)))
    if scheme.lower() != "s3":
        raise UserError(f"{name} is no place of feedback: name a folder, or s3://BUCKET/PREFIX.")
    from monitoring.feedback.bucket_place import BucketPlace
    from serving.fetch.sources import with_credentials

    return BucketPlace(name, endpoint, with_credentials(environment))
