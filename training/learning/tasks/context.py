"""The context that the parts of a task are made in: config, pictures, processes, cache."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from training.config import Config
from training.data.manifest import Manifest
from training.learning.runtime import Group

OnWork = Callable[[str, int, int], None]
Say = Callable[[str], None]


def silent_work(work: str, done: int, total: int) -> None:
    """Report nothing of the work ahead of training."""


def silent(sentence: str) -> None:
    """Tell nobody."""


@dataclass(frozen=True, slots=True)
class Context:
    """One run's config and pictures, and where and by whom they are computed."""

    config: Config
    manifest: Manifest
    group: Group
    cache: Path
    """Folder for outputs of frozen networks and for decoded pictures."""
    amp: torch.dtype | None
    """Half precision of networks, or None."""
    on_work: OnWork = silent_work
    """Called with what is computed ahead of training, pictures done and pictures in all."""
    say: Say = silent
    """Told in a sentence what a person should know of the work ahead of training."""
