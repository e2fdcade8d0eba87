"""An archive whose file is replaced while it is served."""

from pathlib import Path

from handler.files import UserError
from serving.server.archive import Archive, read_archive
from serving.terminal import say

Stamp = tuple[int, int, int]


class Followed:
    """Tells when another archive has taken the place of the one that is served.

    A file is judged by its inode, size and time, which costs nothing; only a new one is read.

    Args:
        archive: the one that is served first.
    """

    def __init__(self, archive: Archive) -> None:
        self.archive = archive
        self._seen = _stamp(archive.path)

    def replaced(self) -> Archive | None:
        """Return the new archive, or None where there is none, or none that can be served in this one's place."""
        stamp = _stamp(self.archive.path)
        if stamp is None or stamp == self._seen:
            return None
        self._seen = stamp
        try:
            archive = read_archive(self.archive.path)
        except UserError as error:
            say(f"{error} The last archive is served on.")
            return None
        if archive.name != self.archive.name:
            say(
                f"{archive.path} is now of the model {archive.name}: {self.archive.name} is served on, whose address "
                "clients use."
            )
            return None
        if archive.list_sha256 == self.archive.list_sha256:
            return None
        self.archive = archive
        return archive


def _stamp(path: Path) -> Stamp | None:
    try:
        facts = path.stat()
    except OSError:
        return None  # between two files
    return facts.st_ino, facts.st_size, facts.st_mtime_ns
