"""The interface of a tracker, and the guard that keeps its failures away from training."""

import re
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from handler.files import first_line

Status = Literal["finished", "failed", "killed"]
Say = Callable[[str], None]
Answer = TypeVar("Answer")


# User and password of an address.
CREDENTIALS = re.compile(r"(?<=://)[^/\s]*@")


def without_credentials(text: str) -> str:
    """Return a text without the user and password of each address in it."""
    return CREDENTIALS.sub("", text)


@dataclass(frozen=True, slots=True)
class LoggedModel:
    """A network as ONNX with what a reader needs to call it."""

    onnx: Any
    """An onnx.ModelProto."""
    example: npt.NDArray[np.uint8]
    """Pictures (n, size, size, 3) that the network takes."""
    logits: npt.NDArray[np.float32]
    """The network's outputs (n, classes) for `example`."""
    facts: Mapping[str, str]


class Tracker(Protocol):
    """A place that runs are recorded in. One run is open at a time."""

    @property
    def place(self) -> str:
        """The address of that place, by which another process finds the run."""

    @property
    def environment(self) -> dict[str, str]:
        """The environment variables by which another process records at the same place."""

    def start(
        self,
        name: str,
        params: Mapping[str, object],
        tags: Mapping[str, str],
        resume: str | None = None,
        parent: str | None = None,
    ) -> str:
        """Open a run, and return its id.

        Args:
            resume: id of an earlier run to go on with; where it no longer exists, a new one begins.
            parent: id of the run that this one is nested under.
        """

    def logged(self) -> int:
        """Return the last step that the open run has figures of, as far as the place tells; else 0."""

    def log(self, metrics: Mapping[str, float], step: int) -> None: ...

    def artifact(self, path: Path, folder: str = "") -> None:
        """Store a file, in a folder of the run's files."""

    def model(self, model: LoggedModel) -> None: ...

    def end(self, status: Status) -> None: ...


class Guarded:
    """A tracker whose first failure is told as a warning, after which nothing more is recorded.

    Hours of training must not end because a server is away or a disk is full.
    """

    def __init__(self, tracker: Tracker, say: Say) -> None:
        self._tracker, self._say = tracker, say
        self.works = True

    @property
    def place(self) -> str:
        return self._tracker.place

    @property
    def environment(self) -> dict[str, str]:
        return self._tracker.environment

    def start(
        self,
        name: str,
        params: Mapping[str, object],
        tags: Mapping[str, str],
        resume: str | None = None,
        parent: str | None = None,
    ) -> str:
        """Return "" where the run cannot be opened."""
        return self._try(lambda: self._tracker.start(name, params, tags, resume, parent)) or ""

    def logged(self) -> int:
        """Return 0 where nobody knows."""
        return self._try(self._tracker.logged) or 0

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        self._try(lambda: self._tracker.log(metrics, step))

    def artifact(self, path: Path, folder: str = "") -> None:
        self._try(lambda: self._tracker.artifact(path, folder))

    def model(self, make: Callable[[], LoggedModel]) -> None:
        """Store the network that a function makes, whose failure is the tracker's: the run has its checkpoints."""
        self._try(lambda: self._tracker.model(make()))

    def end(self, status: Status) -> None:
        self._try(lambda: self._tracker.end(status))

    def _try(self, call: Callable[[], Answer | None]) -> Answer | None:
        """Keep errors and warnings of the tracker's library inside. A tracker that failed is asked no more."""
        if not self.works:
            return None
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return call()
        except Exception as error:
            self.works = False
            reason = without_credentials(first_line(error))
            self._say(f"Warning: the run continues, but is no longer tracked: {reason}")
            return None
