"""A zip of class folders, unpacked once: only into its own folder, within limits, whole or not at all."""

import re
import shutil
import stat
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from handler.files import UserError, sha256_file
from training.data.tree import NOT_OURS
from training.data.whole import whole

# Five times what Microsoft's zip unpacks to, 0.8 GB in 25,000 pictures.
MAX_UNPACKED_BYTES = 4 * 10**9
MAX_MEMBERS = 125_000
ZIP_ERRORS = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError)


def unpack_zip(archive: Path, unpack_to: Path) -> Path:
    """Unpack the files of a zip, without hidden ones.

    Returns:
        The folder, in `unpack_to`, named after the zip and its sha256.

    Raises:
        UserError: it is damaged, too large, encrypted, or holds links or paths that lead out of its folder.
    """
    again = "Unpack it yourself and name the folder."
    try:
        with zipfile.ZipFile(archive) as packed:
            files = _checked_files(archive, packed.infolist())
            if not files:
                raise UserError(f"{archive} holds no files. Name a zip of class folders.")
            check_limits(archive, [member for member, _ in files], again)
            target = unpack_to / f"{archive.stem}-{sha256_file(archive)[:16]}"
            if target.exists():
                return target
            with whole(target) as folder:
                for member, name in files:
                    path = folder / name
                    path.parent.mkdir(parents=True, exist_ok=True)
                    with packed.open(member) as source, path.open("wb") as file:
                        shutil.copyfileobj(source, file)
    except ZIP_ERRORS as error:
        raise UserError(
            f"{archive} is damaged: {error}. Fetch it again, or unpack it yourself and name the folder."
        ) from error
    except OSError as error:
        raise UserError(f"{archive} cannot be unpacked: {error.strerror}: {error.filename}. {again}") from error
    return target


def check_limits(archive: Path, members: Sequence[zipfile.ZipInfo], again: str) -> None:
    """Refuse what unpacks to too many bytes or files."""
    if sum(member.file_size for member in members) > MAX_UNPACKED_BYTES:
        raise UserError(f"{archive} unpacks to more than {MAX_UNPACKED_BYTES // 10**9} GB. {again}")
    if len(members) > MAX_MEMBERS:
        raise UserError(f"{archive} unpacks to more than {MAX_MEMBERS:,} files. {again}")


def _checked_files(archive: Path, members: Sequence[zipfile.ZipInfo]) -> list[tuple[zipfile.ZipInfo, PurePosixPath]]:
    files: dict[PurePosixPath, zipfile.ZipInfo] = {}
    for member in members:
        name = _name(member)
        path = PurePosixPath(name.replace("\\", "/"))
        if path.is_absolute() or ".." in path.parts or re.match("[A-Za-z]:", name):
            raise UserError(f"{archive} was not unpacked: its entry {name} leads out of the folder.")
        if stat.S_IFMT(member.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise UserError(f"{archive} was not unpacked: its entry {name} is a link or device.")
        if member.flag_bits & 1:
            raise UserError(f"{archive} is encrypted. Unpack it yourself and name the folder.")
        # Windows ends a folder's name by a backslash.
        if name.endswith(("/", "\\")) or any(part.startswith(".") or part in NOT_OURS for part in path.parts):
            continue
        if path in files:
            raise UserError(f"{archive} was not unpacked: it holds {name} twice.")
        files[path] = member
    return [(member, path) for path, member in files.items()]


def _name(member: zipfile.ZipInfo) -> str:
    """Return the name of an entry; macOS writes UTF-8 and does not say so."""
    if not member.flag_bits & 0x800:
        try:
            return member.filename.encode("cp437").decode()
        except UnicodeError:
            pass
    return member.filename
