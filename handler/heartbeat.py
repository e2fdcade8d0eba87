"""A worker's sign of life: a small file that a probe can read without asking the worker.

The file says who the worker is, when it last beat, since when it has been busy with a batch, and how many it has
finished. It first appears when the model has answered its warm-up.
"""

import contextlib
import json
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from handler.files import write_atomic

DIRECTORY_VARIABLE = "CATSDOGS_HEARTBEATS"
FAILURE = "failure.txt"
PERIOD_S = 0.5


class Heartbeat:
    """Beats from a thread of its own while the process lives; does nothing where no directory is named."""

    def __init__(self, directory: str | None = None) -> None:
        directory = directory or os.environ.get(DIRECTORY_VARIABLE)
        self.path = Path(directory) / f"{os.getpid()}.json" if directory else None
        self.busy_since: float | None = None
        self.batches = 0

    @contextlib.contextmanager
    def busy(self) -> Iterator[None]:
        """Around a batch."""
        self.busy_since = time.time()
        try:
            yield
        finally:
            self.busy_since = None
            self.batches += 1

    def failed(self, reason: str) -> None:
        """Leaves word of why no worker comes, for who asks the probe."""
        if self.path is not None:
            write_atomic(self.path.with_name(FAILURE), reason.encode(), durable=False)

    def start(self) -> None:
        if self.path is None:
            return
        self.path.with_name(FAILURE).unlink(missing_ok=True)
        self.beat()
        threading.Thread(target=self._run, name="heartbeat", daemon=True).start()

    def beat(self) -> None:
        assert self.path is not None
        beat = {"pid": os.getpid(), "time": time.time(), "busy_since": self.busy_since, "batches": self.batches}
        write_atomic(self.path, json.dumps(beat).encode(), durable=False)

    def _run(self) -> None:
        assert self.path is not None
        while self.path.parent.exists():
            time.sleep(PERIOD_S)
            # A full disk may have room again; a run directory that is gone stays gone, and so will we.
            with contextlib.suppress(OSError, MemoryError):
                self.beat()
