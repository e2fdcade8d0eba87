"""Bounds on a worker's memory, so that a picture costs one answer and never the worker.

Decoders are asked for what they need before they start (handler/image_memory.py). Some cannot say: a WebP of a few
kilobytes may want tables of gigabytes. So the kernel refuses more than a fixed amount while a row is read, which every
decoder takes for a failed malloc. It does not while the network computes: its buffers are warm by then, and a runtime
whose malloc fails may end the process.
"""

import contextlib
import ctypes
import os
import resource
from types import TracebackType

MIB = 2**20
# A request's largest body; a batch of them is there while its rows are read.
BODY = 16 * MIB
# For one row besides the batch's bodies: what `preprocess.MAX_MEMORY` lets a decoder take, a copy of the body, and what
# is scaled at a time.
ROW = 340 * MIB
# Whatever else may have grown: an ordinary picture must always be answered.
LEAST = 64 * MIB
# glibc: blocks of this size are given back as soon as they are free, and what lies at the end of the heap too.
MMAP_BYTES, TRIM_BYTES = 4 * MIB, 8 * MIB
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8


def tune(mmap_bytes: int = MMAP_BYTES, trim_bytes: int = TRIM_BYTES) -> None:
    """Keep glibc from holding what a large picture took: its own thresholds rise with each large block."""
    with contextlib.suppress(OSError, AttributeError):
        library = ctypes.CDLL(None)
        for option, value in ((M_MMAP_THRESHOLD, mmap_bytes), (M_TRIM_THRESHOLD, trim_bytes), (M_ARENA_MAX, 1)):
            library.mallopt(option, value)


def trim() -> None:
    """Give back what is free."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


class Ceiling:
    """A limit on this process's private memory, in force inside a `with` block; none where the system has no such.

    Args:
        batch_size: how many bodies there may be.
    """

    def __init__(self, batch_size: int) -> None:
        self._statm: int | None = None
        with contextlib.suppress(OSError):
            self._statm = os.open("/proc/self/statm", os.O_RDONLY | os.O_CLOEXEC)
        self._hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
        self.least = LEAST
        self.limit = self._taken() + batch_size * BODY + ROW

    def __enter__(self) -> None:
        if self._statm is not None:
            self._set(max(self.limit, self._taken() + self.least))

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._statm is not None:
            self._set(self._hard)

    def _set(self, soft: int) -> None:
        if self._hard != resource.RLIM_INFINITY and soft != resource.RLIM_INFINITY:
            soft = min(soft, self._hard)
        resource.setrlimit(resource.RLIMIT_DATA, (soft, self._hard))

    def _taken(self) -> int:
        """Bytes of private memory, touched or not."""
        if self._statm is None:
            return 0
        return int(os.pread(self._statm, 200, 0).split()[5]) * resource.getpagesize()
