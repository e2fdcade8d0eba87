"""Pictures in tar shards: a picture `Cat/1.jpg` below a folder of shards is the member `Cat/1.jpg` of one of them.

The manifest is the index: it lists the pictures, and the sha256 of each. training/data/pack.py writes shards.
"""

import tarfile
from dataclasses import dataclass
from pathlib import Path

from handler.files import UserError

FOLDER = "shards"
PATTERN = "*.tar"


@dataclass(frozen=True, slots=True)
class Member:
    """The bytes of a picture in a shard."""

    shard: Path
    offset: int
    size: int

    def read(self) -> bytes:
        with self.shard.open("rb") as file:
            file.seek(self.offset)
            return file.read(self.size)


# By folder; a folder without shards has none. Processes that load pictures inherit it.
_members: dict[Path, dict[str, Member]] = {}


def read_picture_file(path: Path) -> bytes:
    """Read a picture from its file, or from a shard.

    Raises:
        OSError: it is in neither.
        UserError: a shard is damaged.
    """
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        member = find(path)
        if member is None:
            raise
        return member.read()


def exists(path: Path) -> bool:
    """Tell whether a picture is there, as a file or in a shard."""
    return path.exists() or find(path) is not None


def find(path: Path) -> Member | None:
    """Return the member that a path below a folder of shards names, or None.

    Raises:
        UserError: a shard is damaged.
    """
    for folder in path.parents:
        if folder in _members or folder.is_dir():
            return members(folder).get(path.relative_to(folder).as_posix())
    return None


def members(folder: Path) -> dict[str, Member]:
    """Return each picture of a folder's shards by its path; they are looked up once, until `forget`.

    Raises:
        UserError: a shard is damaged.
    """
    if folder not in _members:
        _members[folder] = {name: member for shard in shards_of(folder) for name, member in members_of(shard).items()}
    return _members[folder]


def members_of(shard: Path) -> dict[str, Member]:
    """Return each picture of a shard by its path.

    Raises:
        UserError: the shard is damaged.
    """
    try:
        with tarfile.open(shard, "r:") as packed:
            return {entry.name: Member(shard, entry.offset_data, entry.size) for entry in packed if entry.isfile()}
    except tarfile.TarError as error:
        raise UserError(f"{shard} is damaged: {error}. Fetch it again, or run catsdogs prepare again.") from error


def shards_of(folder: Path) -> list[Path]:
    return sorted(folder.glob(PATTERN))


def forget() -> None:
    """Look for shards again, which may have been changed."""
    _members.clear()
