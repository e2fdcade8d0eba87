"""The pictures' places: a folder, a file, or a prefix in a bucket. Each is listed without holding the list."""

import errno
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from common.download.failures import Again, Failure
from handler.files import UserError
from handler.open_image import MAX_BYTES
from handler.problem import Problem
from handler.sniff import is_picture, kind_of, picture_start
from serving.bulk.failures import Unavailable
from serving.bulk.tar import Stream, is_tar
from serving.client.pictures import HEAD, NOT_READ, SUFFIXES
from serving.fetch.s3_store import Missing, Store, TooLarge

# Errors of a file itself. Others are of a disk or a network, and may be over when the same command is given again.
OF_FILE = {
    errno.ENOENT: "not_found",
    errno.ENOTDIR: "not_found",
    errno.EACCES: "unreadable",
    errno.EPERM: "unreadable",
    errno.EISDIR: "unreadable",
    errno.ELOOP: "unreadable",
    errno.ENAMETOOLONG: "unreadable",
}


class Listed(NamedTuple):
    """A file of a source."""

    name: str
    size: int | None
    """Size of a tar in bytes; None for a picture, whose size is not needed."""


class Source(Protocol):
    """A place with pictures."""

    def entries(self) -> Iterator[Listed]:
        """List the files that are not hidden, in any order.

        Raises:
            UserError: it cannot be listed.
            Unavailable: it cannot be listed now.
        """
        ...

    def path(self, name: str) -> str:
        """Return the file's address, as the rows name it."""
        ...

    def read(self, name: str) -> bytes | None:
        """Return a picture's bytes; None for a file that is none by its name and its first bytes.

        Raises:
            Problem: the picture has no bytes that may be read.
            Unavailable: it cannot be read now.
        """
        ...

    def open(self, name: str) -> Stream:
        """Open a tar. Raises as read, also while it is read."""
        ...

    def close(self) -> None: ...


def open_source(address: str, endpoint: str | None = None, out: str = "") -> Source:
    """Return the source of an address: a path, or s3://BUCKET/PREFIX.

    Args:
        out: where predictions are written to, which is left out of a folder.

    Raises:
        UserError: there is no such folder or file, or it is no bucket.
    """
    if address.lower().startswith("s3://"):
        return Bucket(address, endpoint)
    path = Path(address)
    if path.is_dir():
        return Folder(path, Path(out).absolute() if out else None)
    if path.is_file():
        return File(path)
    raise UserError(f"There is no file {path}.")


def has_pictures_name(name: str) -> bool:
    """Whether a file is called as a picture, be it of a format that is not read: it gets a row whatever it holds."""
    suffix = f".{name.rpartition('.')[2].lower()}"
    return suffix in SUFFIXES or suffix in NOT_READ


def looks_like_picture(head: bytes) -> bool:
    """Whether first bytes are a picture's, be it of a format that is not read."""
    return is_picture(head[picture_start(head) :]) or kind_of(head) in NOT_READ.values()


def too_large(size: int) -> Problem:
    return Problem(413, "too_many_bytes", f"The picture has {size} bytes; the limit is {MAX_BYTES}.")


class SafeStream:
    """A stream whose errors are sentences."""

    def __init__(self, stream: Stream, path: str) -> None:
        self.stream, self.path = stream, path

    def read(self, size: int = -1, /) -> bytes:
        try:
            return self.stream.read(size)
        except (OSError, Again) as error:
            raise Unavailable(f"{self.path} cannot be read: {error}") from error
        except Failure as failure:
            raise UserError(f"{self.path} cannot be read: {failure}.") from failure

    def close(self) -> None:
        self.stream.close()


class Folder:
    """A folder and those below it. Links to files are followed, links to folders are not."""

    def __init__(self, folder: Path, out: Path | None = None) -> None:
        self.folder, self.out = folder, out

    def entries(self) -> Iterator[Listed]:
        # One open folder per level: a folder of millions is never held.
        levels = [self._scan("")]
        while levels:
            listed = next(levels[-1], None)
            if listed is None:
                levels.pop()
            elif isinstance(listed, str):
                levels.append(self._scan(listed))
            else:
                yield listed

    def _scan(self, below: str) -> Iterator[Listed | str]:
        """Yield the files of one folder, and the names of its folders."""
        try:
            with os.scandir(self.folder / below) as entries:
                for entry in entries:
                    if entry.name.startswith("."):
                        continue
                    name = f"{below}/{entry.name}" if below else entry.name
                    if entry.is_dir(follow_symlinks=False):
                        if self.out is None or Path(entry.path).absolute() != self.out:
                            yield name
                    elif is_tar(name):
                        yield Listed(name, entry.stat().st_size)
                    elif entry.is_file() or entry.is_symlink():
                        yield Listed(name, None)
        except OSError as error:
            raise UserError(f"The folder {self.folder / below} cannot be listed: {error.strerror}.") from error

    def path(self, name: str) -> str:
        return str(self.folder / name)

    def read(self, name: str) -> bytes | None:
        with failures(self.path(name)), (self.folder / name).open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            if not has_pictures_name(name) and not looks_like_picture(file.read(HEAD)):
                return None
            if size > MAX_BYTES:
                raise too_large(size)
            file.seek(0)
            data = file.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:  # it grew
            raise too_large(len(data))
        return data

    def open(self, name: str) -> Stream:
        with failures(self.path(name)):
            return SafeStream((self.folder / name).open("rb"), self.path(name))

    def close(self) -> None:
        """Nothing is open."""


class File(Folder):
    """One picture or one tar, as it is named: hidden or not."""

    def __init__(self, file: Path) -> None:
        super().__init__(file.parent)
        self.file = file

    def entries(self) -> Iterator[Listed]:
        name = self.file.name
        yield Listed(name, self.file.stat().st_size if is_tar(name) else None)

    def path(self, name: str) -> str:
        return str(self.file)


class failures:
    """Turns an error of a file into a problem of its picture, and one of the disk or the network into Unavailable."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, at: object) -> None:
        if isinstance(error, OSError):
            if error.errno in OF_FILE:
                raise Problem(404, OF_FILE[error.errno], f"Cannot be read: {error.strerror}.") from error
            raise Unavailable(f"{self.path} cannot be read: {error.strerror}") from error


class Bucket:
    """The objects below a prefix: the object of that key, and those in it as in a folder."""

    def __init__(self, address: str, endpoint: str | None = None) -> None:
        self.bucket, _, prefix = address.partition("://")[2].partition("/")
        self.address, self.prefix = address, prefix
        self.store = Store(self.bucket, endpoint)

    def entries(self) -> Iterator[Listed]:
        folder = self.prefix if not self.prefix or self.prefix.endswith("/") else f"{self.prefix}/"
        try:
            for key, size in self.store.list(self.prefix):
                # A prefix of S3 is of characters: s3://b/cat would also be s3://b/caterpillars.
                inside = key.removeprefix(folder) if key.startswith(folder) else None
                if (inside is None and key != self.prefix) or key.endswith("/"):
                    continue
                if any(part.startswith(".") for part in (inside or "").split("/")):
                    continue
                yield Listed(key, size if is_tar(key) else None)
        except Again as again:
            raise Unavailable(f"{self.address} cannot be listed: {again.reason}") from again
        except Failure as failure:
            raise UserError(f"{self.address} cannot be listed: {failure}.") from failure

    def path(self, name: str) -> str:
        return f"s3://{self.bucket}/{name}"

    def read(self, name: str) -> bytes | None:
        sniff = None if has_pictures_name(name) else lambda head: looks_like_picture(head[:HEAD])
        with object_failures(self.path(name)):
            return self.store.read(name, MAX_BYTES, sniff)

    def open(self, name: str) -> Stream:
        with object_failures(self.path(name)):
            return SafeStream(self.store.open(name), self.path(name))

    def close(self) -> None:
        self.store.close()


class object_failures:
    """Turns failures of an object into a problem of its picture, and those of the bucket into Unavailable."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, at: object) -> None:
        if isinstance(error, Missing):
            raise Problem(404, "not_found", "Cannot be read: there is no such object.") from error
        if isinstance(error, TooLarge):
            raise too_large(error.size) from error
        if isinstance(error, Again):
            raise Unavailable(f"{self.path} cannot be read: {error.reason}") from error
        if isinstance(error, Failure):
            raise UserError(f"{self.path} cannot be read: {error}.") from error


def open_sources(addresses: Sequence[str], endpoint: str | None, out: str = "") -> list[Source]:
    return [open_source(address, endpoint, out) for address in addresses]
