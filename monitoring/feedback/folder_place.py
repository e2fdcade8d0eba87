"""Feedback in a folder of this machine."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from common.review_csv import ID
from handler.files import UserError
from monitoring.feedback.place import Entry, Unreadable
from serving.feedback.place import DAY


class Folder:
    """A folder of this machine. Links are not followed: they may lead anywhere."""

    def __init__(self, root: Path) -> None:
        if not root.is_dir():
            raise UserError(f"{root} is not a folder. Name the folder that the server stores feedback in.")
        self.root = root

    def entries(self) -> Iterator[Entry]:
        for day in _sorted(self.root):
            if DAY.fullmatch(day.name) and day.is_dir(follow_symlinks=False):
                for file in _sorted(Path(day.path)):
                    id, _, suffix = file.name.partition(".")
                    if suffix == "json" and ID.fullmatch(id):
                        yield Entry(day.name, id)

    def read(self, day: str, name: str, limit: int) -> bytes:
        try:
            # A pipe would be waited for without an end.
            descriptor = os.open(self.root / day / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError as error:
            raise Unreadable(f"it cannot be read: {error.strerror}") from error
        with open(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise Unreadable("it is not a regular file")
            data = file.read(limit + 1)
        if len(data) > limit:
            raise Unreadable(f"it has more than {limit} bytes")
        return data

    def path(self, day: str, name: str) -> Path | None:
        return self.root / day / name


def _sorted(folder: Path) -> list["os.DirEntry[str]"]:
    try:
        return sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        raise UserError(f"{folder} cannot be read: {error.strerror}.") from error
