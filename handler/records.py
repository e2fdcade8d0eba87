"""Sampled records of predictions, which `catsdogs drift` compares with the reference. They hold no pixels.

A worker writes a line of JSON for a picture: when it was answered, its features, label and probability, and the model.
Files are bounded: a full one becomes FILE.1, and the oldest are removed. A file is named after its host and process, so
that pods may share a folder. Nothing here may fail or delay a request: lines wait in memory, and the heartbeat's thread
writes them; where it cannot, they are dropped.
"""

import json
import logging
import os
import stat
import time
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from handler.features import Thinning

logger = logging.getLogger(__name__)

# Names the folder of the records. Without it nothing is recorded.
VARIABLE = "CATSDOGS_RECORDS"
SUFFIX = ".jsonl"
# A worker records at most a picture in 5 seconds, in bursts of up to 20: 5 MB a day.
RATE, BURST = 0.2, 20.0
MAX_FILE_BYTES, MAX_FOLDER_BYTES = 4 * 2**20, 64 * 2**20
MAX_WAITING = 1000


class Records:
    """The records of one worker.

    Args:
        model: what identifies the model, which each record repeats.
    """

    def __init__(self, folder: Path, model: Mapping[str, Any]) -> None:
        self.path = folder / f"records-{os.uname().nodename}-{os.getpid()}{SUFFIX}"
        self.model = dict(model)
        self.waiting: deque[str] = deque(maxlen=MAX_WAITING)
        self.thinning = Thinning(rate=RATE, burst=BURST)
        self.failed = False

    def takes(self) -> bool:
        """Whether the next picture shall be recorded: not if many were just before."""
        return self.thinning.takes()

    def add(self, label: str, probability: float, features: Mapping[str, float], components: str | None = None) -> None:
        """Record a prediction.

        Args:
            components: sha256 of the release's components, where the features hold some.
        """
        rounded = {name: float(f"{value:.6g}") for name, value in features.items()}
        record = {"time": round(time.time(), 3), "label": label, "probability": round(probability, 6)}
        named = {} if components is None else {"components": components}
        self.waiting.append(json.dumps({**record, "features": rounded, **named, "model": self.model}))

    def flush(self) -> None:
        """Write what waits."""
        lines = [self.waiting.popleft() for _ in range(len(self.waiting))]
        if not lines:
            return
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a") as file:
                file.writelines(f"{line}\n" for line in lines)
                full = file.tell() > MAX_FILE_BYTES
            if full:
                self.path.replace(self.path.with_suffix(f"{SUFFIX}.1"))
                prune(self.path.parent)
            self.failed = False
        except OSError as error:
            if not self.failed:
                logger.warning("records are dropped, as %s cannot be written: %s", self.path, error.strerror)
            self.failed = True


def are_wanted() -> bool:
    """Return whether the environment asks for records."""
    return bool(os.environ.get(VARIABLE))


def open_records(model: Mapping[str, Any]) -> Records | None:
    """Return the records that the environment asks for."""
    folder = os.environ.get(VARIABLE)
    return Records(Path(folder), model) if folder else None


def files_of(folder: Path) -> list[Path]:
    """Return the files of records in a folder, the oldest first."""
    return [path for _, _, path in _by_age(folder)]


def prune(folder: Path) -> None:
    """Remove the oldest files where the folder holds too much, such as those of workers that have ended."""
    files = _by_age(folder)
    total = sum(size for _, size, _ in files)
    for _, size, path in files:
        if total <= MAX_FOLDER_BYTES:
            return
        total -= size
        path.unlink(missing_ok=True)


def _by_age(folder: Path) -> list[tuple[float, int, Path]]:
    """Return time, size and path of each file, the oldest first. Another worker may remove some meanwhile."""
    files = []
    for path in folder.glob(f"*{SUFFIX}*"):
        with suppress(FileNotFoundError):
            facts = path.stat()
            if stat.S_ISREG(facts.st_mode):
                files.append((facts.st_mtime, facts.st_size, path))
    return sorted(files)
