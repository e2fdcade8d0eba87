"""A process that reads, decodes and classifies pictures, as a worker of the server does."""

import os
import queue
import signal
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

from handler import memory, tiff
from handler.files import UserError, first_line
from handler.open_image import MAX_BYTES
from handler.predictor import Predictor
from handler.problem import Problem
from handler.runtimes.choice import from_environment
from serving.bulk.answering import Picture, answer
from serving.bulk.failures import Unavailable
from serving.bulk.sources import Source, open_sources
from serving.client.pictures import EMPTY
from serving.server.parent import die_with_parent

# As the server's workers have them: the network's answers to a batch of another size may differ in the last digit.
BATCH = 8
# Of objects of a bucket at once; a file of a disk is there sooner than a thread.
READERS = 8
# Batches whose bytes may be there: one is decoded, one waits, and one is read.
BATCHES = 3


class Item(NamedTuple):
    """A picture to classify: a file of a source, or bytes of a tar's member."""

    source: int
    name: str
    member: str = ""
    data: bytes | None = None
    problem: tuple[int, str, str] | None = None
    """Status, code and detail where there is nothing to classify."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The arguments of a worker."""

    model: Path
    """Folder of the unpacked archive."""
    sources: Sequence[str]
    endpoint: str | None
    parent: int


class Ready(NamedTuple):
    """The first message of a worker, which has loaded its model."""


class Result(NamedTuple):
    """The rows of a task, without files that are no pictures."""

    task: int
    rows: list[dict[str, Any]]
    skipped: int


class Failed(NamedTuple):
    """The reason why a worker ends: a user's mistake, or a place that cannot be reached now."""

    sentence: str
    is_final: bool


def run(connection: Connection, settings: Settings) -> None:
    """Answer tasks from a connection until it is closed."""
    for number in (signal.SIGINT, signal.SIGTERM):
        # A terminal sends Ctrl-C to all; the part in hand is still finished.
        signal.signal(number, signal.SIG_IGN)
    try:
        die_with_parent(settings.parent)
        tiff.silence()
        memory.tune()
        predictor = Predictor(settings.model, *from_environment())
        predictor.warm_up(BATCH)
        memory.trim()
        sources = open_sources(settings.sources, settings.endpoint)
        connection.send(Ready())
        _serve(connection, predictor, sources)
    except (UserError, Unavailable) as error:
        connection.send(Failed(first_line(error), isinstance(error, UserError)))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        pass
    # Threads may still wait for a network.
    os._exit(0)


def _serve(connection: Connection, predictor: Predictor, sources: Sequence[Source]) -> None:
    """Read the next batch while the network computes this one."""
    batches: queue.Queue[tuple[int, list[Picture | None]] | BaseException] = queue.Queue(BATCHES - 2)
    ceiling = memory.Ceiling(BATCHES * BATCH)
    remote = any(source.path("").startswith("s3://") for source in sources)

    def read_all() -> None:
        try:
            with ThreadPoolExecutor(READERS) as pool:
                read: Callable[[Item], Picture | None] = lambda item: read_item(sources, item)  # noqa: E731
                while True:
                    task, items = connection.recv()
                    batches.put((task, list((pool.map if remote else map)(read, items))))
        except BaseException as error:
            batches.put(error)

    threading.Thread(target=read_all, name="reader", daemon=True).start()
    while True:
        batch = batches.get()
        if isinstance(batch, BaseException):
            raise batch
        task, read = batch
        pictures = [picture for picture in read if picture is not None]
        connection.send(Result(task, answer(predictor, ceiling, pictures), len(read) - len(pictures)))


def path_of(sources: Sequence[Source], item: Item) -> str:
    """Return the address of a picture, as its row has it: a member of a tar as if the tar were a folder."""
    path = sources[item.source].path(item.name)
    return f"{path}/{item.member}" if item.member else path


def read_item(sources: Sequence[Source], item: Item) -> Picture | None:
    """Read a picture; None for a file that is none."""
    path = path_of(sources, item)
    if item.problem is not None:
        return Picture(path, problem=Problem(*item.problem))
    try:
        data = sources[item.source].read(item.name) if item.data is None else item.data
    except Problem as problem:
        return Picture(path, problem=Problem(problem.status, problem.code, problem.detail))
    if data is None:
        return None
    if not data:
        return Picture(path, problem=Problem(400, "no_image", EMPTY))
    assert len(data) <= MAX_BYTES
    return Picture(path, data)
