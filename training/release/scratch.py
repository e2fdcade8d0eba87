"""A hidden folder beside what is being made: a kill leaves the old thing or the new one, and no rubbish for long.

Beside model-store/catsdogs this is model-store/.catsdogs.new, with three things in it: `lock`, held by the process that
works there; `made`, what it makes, renamed when it is whole; `old`, what that replaces, between two renames.
"""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from handler.files import UserError
from handler.release import scratch_of
from training.locks import Busy, Lock


@contextmanager
def scratch_beside(target: Path) -> Iterator[Path]:
    """An empty folder on the file system of `target`, for one process at a time; gone afterwards.

    What a killed process left there is cleaned up first: a folder that it had only moved away comes back.

    Args:
        target: a resolved path.

    Raises:
        UserError: another process is making the same thing.
    """
    scratch = scratch_of(target)
    try:
        lock = Lock(scratch / "lock")
    except Busy:
        raise UserError(f"Another process is writing {target}: wait for it, or stop it.") from None
    with lock:
        try:
            _bring_back(scratch, target)
            made = scratch / "made"
            for remains in (scratch / "old", made):
                if remains.exists():
                    shutil.rmtree(remains)
            made.mkdir()
            yield made
        finally:
            _bring_back(scratch, target)
            shutil.rmtree(scratch)


def _bring_back(scratch: Path, target: Path) -> None:
    if (scratch / "old").exists() and not target.exists():
        (scratch / "old").rename(target)


def put_in_place(made: Path, target: Path) -> None:
    """Renames the folder of `scratch_beside(target)` to `target`; what stood there goes with the scratch.

    Raises:
        UserError: `target` cannot be renamed, as in a container where it is of the image.
    """
    try:
        if target.exists():
            target.rename(made.with_name("old"))
        made.rename(target)
    except OSError as error:
        if error.errno not in (errno.EBUSY, errno.EXDEV):
            raise
        raise UserError(f"{target} cannot be renamed ({os.strerror(error.errno)}): name another folder.") from error
