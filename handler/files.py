"""Files that are whole or not there, and errors that are the user's to mend."""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO


class UserError(ValueError):
    """A mistake that one sentence explains; the command prints it without a traceback and exits with 2."""


def first_line(error: BaseException) -> str:
    """Return the first line of a library's message, which may go on for pages."""
    return next(iter(str(error).splitlines()), type(error).__name__)


@contextmanager
def replacing(path: Path, durable: bool = True) -> Iterator[IO[bytes]]:
    """A new file beside `path`, which is renamed to it at the end, so that a kill leaves the old file or the new one.

    Args:
        durable: wait for the disk, so that a power cut does too.
    """
    # Processes of two containers that share a volume may have the same number.
    beside = path.with_name(f".{path.name}.{os.getpid()}-{os.urandom(4).hex()}.part")
    try:
        with beside.open("wb") as file:
            yield file
            if durable:
                file.flush()
                os.fsync(file.fileno())
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


def write_atomic(path: Path, data: bytes, durable: bool = True) -> None:
    """Writes a whole file, see `replacing`."""
    with replacing(path, durable) as file:
        file.write(data)


def sha256_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
