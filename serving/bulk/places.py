"""The place that predictions are written to: a folder, or a prefix in a bucket. Each file is whole or not there."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol

from common.download.failures import Again, Failure
from handler.files import UserError, write_atomic
from serving.bulk.failures import Unavailable
from serving.fetch.s3_store import Exists, Missing, Store

# Of a file that is read as a whole: a part, a plan or a summary.
MAX_BYTES = 4 << 30


class Place(Protocol):
    """Files by their names."""

    def names(self) -> Iterator[str]:
        """List the files."""
        ...

    def read(self, name: str) -> bytes | None:
        """Return a file, or None where there is none."""
        ...

    def write(self, name: str, data: bytes) -> None:
        """Write a file whole or not at all, in place of an earlier one."""
        ...

    def create(self, name: str, data: bytes) -> None:
        """Write a file as `write`, unless there is one."""
        ...

    def tidy(self, start: str) -> None:
        """Remove what kills have left of files whose names begin so."""
        ...

    def close(self) -> None: ...


def open_place(address: str, endpoint: str | None = None) -> Place:
    """Return the place of an address: a path, or s3://BUCKET/PREFIX."""
    if address.lower().startswith("s3://"):
        return BucketPlace(address, endpoint)
    return FolderPlace(Path(address))


class FolderPlace:
    """A folder, or a volume that several nodes mount."""

    def __init__(self, folder: Path) -> None:
        if folder.exists() and not folder.is_dir():
            raise UserError(f"{folder} is a file: name a folder to write the parts to.")
        self.folder = folder

    def names(self) -> Iterator[str]:
        with suppress(FileNotFoundError), os.scandir(self.folder) as entries:
            yield from (entry.name for entry in entries if not entry.name.startswith("."))

    def read(self, name: str) -> bytes | None:
        try:
            return (self.folder / name).read_bytes()
        except FileNotFoundError:
            return None

    def write(self, name: str, data: bytes) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        write_atomic(self.folder / name, data)

    def create(self, name: str, data: bytes) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        beside = self.folder / f".{name}.{os.getpid()}-{os.urandom(4).hex()}.part"
        write_atomic(beside, data)
        try:
            os.link(beside, self.folder / name)
        except FileExistsError:
            pass
        except OSError:  # a file system without hard links
            if not (self.folder / name).exists():
                beside.replace(self.folder / name)
        finally:
            beside.unlink(missing_ok=True)

    def tidy(self, start: str) -> None:
        for left in self.folder.glob(f".{start}*.part"):
            left.unlink(missing_ok=True)

    def close(self) -> None:
        """Nothing is open."""


class BucketPlace:
    """A prefix in a bucket. It needs s3:PutObject, s3:GetObject and s3:ListBucket."""

    def __init__(self, address: str, endpoint: str | None = None) -> None:
        bucket, _, prefix = address.partition("://")[2].partition("/")
        self.address = address
        self.prefix = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
        self.store = Store(bucket, endpoint)

    def names(self) -> Iterator[str]:
        with self._failures("listed"):
            for key, _ in self.store.list(self.prefix):
                name = key.removeprefix(self.prefix)
                if "/" not in name:
                    yield name

    def read(self, name: str) -> bytes | None:
        with self._failures("read"):
            try:
                return self.store.read(f"{self.prefix}{name}", MAX_BYTES)
            except Missing:
                return None

    def write(self, name: str, data: bytes) -> None:
        with self._failures("written to"):
            self.store.write(f"{self.prefix}{name}", data)

    def create(self, name: str, data: bytes) -> None:
        with self._failures("written to"), suppress(Exists):
            self.store.write(f"{self.prefix}{name}", data, new=True)

    def tidy(self, start: str) -> None:
        """An object is whole or not there."""

    def close(self) -> None:
        self.store.close()

    @contextmanager
    def _failures(self, what: str) -> Iterator[None]:
        try:
            yield
        except Again as again:
            raise Unavailable(f"{self.address} cannot be {what}: {again.reason}") from again
        except Failure as failure:
            raise UserError(f"{self.address} cannot be {what}: {failure}.") from failure
