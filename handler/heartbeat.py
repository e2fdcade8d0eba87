"""A worker's sign of life: a small file that a probe can read without asking the worker.

The file says who the worker is, when it last beat, since when it has been busy with a batch, of how many requests, and
how many batches it has finished. It first appears when the model has answered its warm-up. Beside it lies a second file
with the worker's counters, which is written when they have changed.
"""

import contextlib
import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from handler.files import write_atomic

DIRECTORY_VARIABLE = "CATSDOGS_HEARTBEATS"
FAILURE = "failure.txt"
PERIOD_S = 0.5
# The name of the file of counters ends in this.
COUNTS_SUFFIX = ".counts"


class Heartbeat:
    """Beats from a thread of its own while the process lives; does nothing where no directory is named."""

    def __init__(self, directory: str | None = None) -> None:
        directory = directory or os.environ.get(DIRECTORY_VARIABLE)
        self.path = Path(directory) / f"{os.getpid()}.json" if directory else None
        self.busy_since: float | None = None
        self.rows = 0
        self.batches = 0
        self.started = time.time()
        self.snapshot: Callable[[], dict[str, Any]] | None = None
        self.written = b""

    @contextlib.contextmanager
    def busy(self, rows: int) -> Iterator[None]:
        """Around a batch of so many requests."""
        self.rows, self.busy_since = rows, time.time()
        try:
            yield
        finally:
            self.rows, self.busy_since = 0, None
            self.batches += 1

    def failed(self, reason: str) -> None:
        """Leaves word of why no worker comes, for who asks the probe."""
        if self.path is not None:
            write_atomic(self.path.with_name(FAILURE), reason.encode(), durable=False)

    def start(self, snapshot: Callable[[], dict[str, Any]] | None = None) -> None:
        """Beat from now on.

        Args:
            snapshot: returns the worker's counters, which another thread changes meanwhile.
        """
        if self.path is None:
            return
        self.snapshot = snapshot
        self.path.with_name(FAILURE).unlink(missing_ok=True)
        self.write_counts()
        self.beat()
        threading.Thread(target=self._run, name="heartbeat", daemon=True).start()

    def beat(self) -> None:
        assert self.path is not None
        beat = {"pid": os.getpid(), "time": time.time(), "busy_since": self.busy_since, "batches": self.batches}
        beat["rows"] = self.rows
        write_atomic(self.path, json.dumps(beat).encode(), durable=False)

    def write_counts(self) -> None:
        """Write the counters where they have changed. A process that gets the same number later has another start."""
        assert self.path is not None
        if self.snapshot is None:
            return
        data = json.dumps({"pid": os.getpid(), "started": self.started, **self.snapshot()}).encode()
        if data != self.written:
            write_atomic(self.path.with_suffix(COUNTS_SUFFIX), data, durable=False)
            self.written = data

    def _run(self) -> None:
        assert self.path is not None
        while self.path.parent.exists():
            time.sleep(PERIOD_S)
            # A full disk may have room again; a run directory that is gone stays gone, and so will we.
            with contextlib.suppress(OSError, MemoryError):
                self.beat()
                self.write_counts()
