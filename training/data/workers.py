"""Batches made ahead by processes: through shared memory or, where a container has too little of it, through pipes.

Docker gives a container 64 MB of shared memory. A process that finds too little of it left sends its batch through a
pipe instead, which costs a copy. What goes wrong in a process becomes a sentence here.
"""

import multiprocessing.queues
import os
import re
import resource
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import DataLoader, Dataset, Sampler, get_worker_info

from handler.files import UserError
from training.interrupts import held_back

SHARED_MEMORY = Path("/dev/shm")
# Left to others, bytes: the locks of processes that are started, among them.
RESERVE = 8 * 2**20
# Bytes that are not worth a file of shared memory.
SMALL = 2**16
# Files that a process holds open beside those of batches.
FILES = 128
DEATH = re.compile(r"DataLoader worker \(pid(?:\(s\))? (?P<pids>[\d, ]+)\) (?P<how>.*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class _Failure:
    """An error that the user can mend, sent in place of a batch."""

    sentence: str


@dataclass(frozen=True, slots=True)
class _Parts:
    """The tensors of a batch on their way between processes, as arrays where they go through a pipe."""

    parts: list[torch.Tensor | npt.NDArray[Any]]
    many: bool
    cramped: bool
    """Whether shared memory had no room for one of them."""

    def pin_memory(self) -> "_Parts":
        return _Parts([_tensor(part).pin_memory() for part in self.parts], self.many, self.cramped)

    def batch(self) -> Any:
        tensors = tuple(map(_tensor, self.parts))
        return tensors if self.many else tensors[0]


def _tensor(part: torch.Tensor | npt.NDArray[Any]) -> torch.Tensor:
    return part if isinstance(part, torch.Tensor) else torch.from_numpy(part)


class _Batches(Dataset[Any]):
    """Whole batches of a dataset, as they leave the process that made them."""

    def __init__(self, dataset: Dataset[Any], collate: Callable[[Any], Any], may_share: bool) -> None:
        self.dataset, self.collate, self.may_share = dataset, collate, may_share

    def __len__(self) -> int:
        return len(self.dataset)  # type: ignore[arg-type]

    def __getitems__(self, indices: Sequence[Any]) -> Any:
        try:
            if hasattr(self.dataset, "__getitems__"):
                batch = self.collate(self.dataset.__getitems__(indices))
            else:
                batch = self.collate([self.dataset[index] for index in indices])
        except UserError as error:
            return _Failure(str(error))
        return batch if get_worker_info() is None else self._packed(batch)

    def _packed(self, batch: Any) -> Any:
        tensors = batch if isinstance(batch, tuple) else (batch,)
        if not all(isinstance(tensor, torch.Tensor) for tensor in tensors):
            return batch
        parts = [self._shared(tensor) for tensor in tensors]
        cramped = any(
            isinstance(part, np.ndarray) and tensor.nbytes >= SMALL for part, tensor in zip(parts, tensors, strict=True)
        )
        return _Parts(parts, isinstance(batch, tuple), cramped and self.may_share)

    def _shared(self, tensor: torch.Tensor) -> torch.Tensor | npt.NDArray[Any]:
        if self.may_share and tensor.nbytes >= SMALL and _free() - tensor.nbytes > RESERVE:
            try:
                shared: torch.Tensor = tensor.share_memory_()  # type: ignore[no-untyped-call]
                return shared
            except (RuntimeError, OSError):
                pass  # another process was faster
        return np.asarray(tensor.numpy())


def _free() -> float:
    """Bytes of shared memory that are left; without end where it is no file system, as on macOS."""
    try:
        status = os.statvfs(SHARED_MEMORY)
    except OSError:
        return float("inf")
    return float(status.f_bavail * status.f_frsize)


def _as_it_is(batch: Any) -> Any:
    return batch


def _start(worker: int) -> None:
    """A process that cannot send a batch would be waited for in vain, so it ends.

    By SIGTERM torch ends a process that is busy; one that dies of it would be a failure to torch.
    """
    signal.signal(signal.SIGTERM, lambda number, frame: os._exit(0))
    multiprocessing.queues.Queue._on_queue_feeder_error = staticmethod(_end)  # type: ignore[attr-defined]


def _start_aside(worker: int) -> None:
    """The threads of a step wait for each other, so a worker that takes the core of one of them stops them all."""
    _start(worker)
    os.nice(19)


def _end(error: BaseException, batch: Any) -> None:
    os._exit(1)


def load(
    dataset: Dataset[Any],
    collate: Callable[[Any], Any],
    workers: int,
    *,
    batch_size: int = 1,
    sampler: Sampler[Any] | None = None,
    prefetch: int = 2,
    pin_memory: bool = False,
    step_aside: bool = False,
) -> Iterator[Any]:
    """The batches of a dataset in order, made ahead by `workers` processes; it uses up no random number.

    Where no process can be started, or no memory shared, it says so on stderr and goes on as it can.

    Args:
        collate: rows of a batch, or what the dataset's `__getitems__` returns -> the batch.
        sampler: draws whole batches of indices; without it they are `batch_size` rows each, in order.
        prefetch: batches that each process makes ahead.
        step_aside: let the processes take only the processor time that others leave.

    Raises:
        UserError: a row raised it.
    """
    may_share = not workers or _allows(FILES + 4 * workers * prefetch)
    batches = _Batches(dataset, collate, may_share)
    chosen: dict[str, Any] = {"batch_size": batch_size} if sampler is None else {"batch_sampler": sampler}
    chosen |= {"collate_fn": _as_it_is, "pin_memory": pin_memory, "generator": torch.Generator()}
    init = _start_aside if step_aside else _start
    made: Iterator[Any]
    try:
        ahead: dict[str, Any] = {"prefetch_factor": prefetch, "worker_init_fn": init} if workers else {}
        with held_back():
            made = iter(DataLoader(batches, num_workers=workers, **ahead, **chosen))
    except OSError as error:
        if not workers:
            raise
        _say(f"No process can be started to load pictures ({error.strerror}): this one loads them, which is slower.")
        made = iter(DataLoader(batches, **chosen))
    for batch in made:
        if isinstance(batch, _Failure):
            raise UserError(batch.sentence)
        if isinstance(batch, _Parts):
            if batch.cramped:
                _say_cramped()
            batch = batch.batch()
        yield batch


def _allows(files: int) -> bool:
    """Whether this process may hold so many files open, if need be by raising its own limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = files if hard == resource.RLIM_INFINITY else min(files, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return hard == resource.RLIM_INFINITY or files <= hard


def _say_cramped() -> None:
    status = os.statvfs(SHARED_MEMORY)
    _say(
        f"{SHARED_MEMORY} has {status.f_blocks * status.f_frsize / 2**20:.0f} MB, too few for the batches in flight: "
        "they go through pipes, which is slower. Give a container more, as by docker run --shm-size=1g."
    )


@cache  # once in a process
def _say(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)


@contextmanager
def deaths_explained() -> Iterator[None]:
    """
    Raises:
        UserError: a process that loads pictures was killed or cannot be talked to; torch raises that anywhere.
    """
    try:
        yield
    except RuntimeError as error:
        if death := DEATH.match(str(error)):
            how = death["how"].strip().rstrip(".")
            raise UserError(
                f"A process that loads pictures (pid {death['pids']}) {how}, perhaps for want of memory: set fewer "
                "train.workers, or give it more memory."
            ) from error
        if "ancdata" in str(error) or "Too many open files" in str(error):
            raise UserError(
                "Too many files are open: raise the limit, as by ulimit -n 1024, or set train.workers=0."
            ) from error
        raise
