"""Locks of files, by which processes that share a folder take turns; a process that ends in any way lets go of its own.

A lock is a file that stays where it is. It may lie in a folder that is removed by who holds it exclusively: whoever
waited for it notices, and locks the new file of that name.
"""

import errno
import fcntl
import os
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

# File systems that know no locks: what is written beside and renamed is whole there too, and may be made twice.
WITHOUT_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL}
READ_ONLY = {errno.EROFS, errno.EACCES, errno.EPERM}


class Busy(Exception):
    """Another process holds the lock."""


class Lock:
    """A lock that is held from construction to `release`, or to the end of this process and of those it forked.

    Args:
        path: the lock's file; its folder is made where it is missing.
        shared: hold it beside others that hold it so.
        on_wait: called once before waiting for another process; without it there is no waiting.

    Attributes:
        works: False on a file system that knows no locks, where nobody is locked out.

    Raises:
        Busy: another process holds it, and there is no `on_wait`.
    """

    works: bool

    def __init__(self, path: Path, *, shared: bool = False, on_wait: Callable[[], None] | None = None) -> None:
        self._descriptor, self._owner = -1, os.getpid()
        self._descriptor, self.works = _lock(path, fcntl.LOCK_SH if shared else fcntl.LOCK_EX, on_wait)

    def release(self) -> None:
        if self._descriptor >= 0:
            if self.works and os.getpid() == self._owner:
                fcntl.flock(self._descriptor, fcntl.LOCK_UN)  # closing is not enough: forked processes have it open too
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def __del__(self) -> None:
        self.release()


def _lock(path: Path, operation: int, on_wait: Callable[[], None] | None) -> tuple[int, bool]:
    while True:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        except FileNotFoundError:
            continue  # its folder was removed between the two
        except OSError as error:
            if operation == fcntl.LOCK_SH and error.errno in READ_ONLY:
                return -1, True  # who only reads there locks out nobody who could write
            raise
        try:
            try:
                fcntl.flock(descriptor, operation | fcntl.LOCK_NB)
            except BlockingIOError:
                if on_wait is None:
                    raise Busy from None
                on_wait()
                on_wait = _nothing
                fcntl.flock(descriptor, operation)
        except OSError as error:
            if error.errno in WITHOUT_LOCKS:
                return descriptor, False
            os.close(descriptor)
            raise
        except BaseException:
            os.close(descriptor)
            raise
        if os.fstat(descriptor).st_nlink:
            return descriptor, True
        os.close(descriptor)  # who held it removed it


def _nothing() -> None:
    pass
