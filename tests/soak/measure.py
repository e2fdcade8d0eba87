"""Measurement of a server's resources: memory, descriptors and threads of its processes, and its files."""

import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from loadtest.stages.processes import part_of

MIB = 2**20
NAMES = {"gateway": "caddy", "relay": "relay", "java": "java"}


class Lost(Exception):
    """A process ended, so what follows is another server."""


@dataclass(frozen=True, slots=True)
class Folders:
    """Folders that a server writes to.

    Attributes:
        temporary: its TMPDIR, which holds its run folder, too.
        records: records of predictions. They grow by design, up to a limit.
    """

    temporary: Path
    records: Path

    def make(self) -> None:
        self.temporary.mkdir()
        self.records.mkdir()


def name_processes(launcher: psutil.Process, workers: int) -> dict[str, psutil.Process]:
    """Return the processes, by name, of a ready server that `catsdogs serve` started.

    Raises:
        Lost: there are not as many workers, or another part is missing.
    """
    named = {"launcher": launcher}
    of_workers = []
    for process in launcher.children(recursive=True):
        part = part_of(process.cmdline())
        if part == "worker":
            of_workers.append(process)
        elif part in NAMES:
            named[NAMES[part]] = process
    if len(of_workers) != workers:
        raise Lost(f"{len(of_workers)} of {workers} workers are there")
    if missing := set(NAMES.values()) - named.keys():
        raise Lost(f"{', '.join(sorted(missing))} cannot be found")
    by_age = sorted(of_workers, key=lambda process: process.create_time())
    return named | {f"worker {number}": process for number, process in enumerate(by_age, 1)}


def sample(processes: dict[str, psutil.Process], folders: Folders) -> Iterator[tuple[str, str, float]]:
    """Yield subject, quantity and value. Memory is what a process has for itself (USS).

    Raises:
        Lost: a process ended.
    """
    for name, process in processes.items():
        try:
            with process.oneshot():
                yield name, "memory, MiB", process.memory_full_info().uss / MIB
                yield name, "descriptors", process.num_fds()
                yield name, "threads", process.num_threads()
        except psutil.NoSuchProcess as error:
            raise Lost(f"{name} ended") from error
    files, size = weigh(folders.temporary)
    yield "temporary", "files", files
    yield "temporary", "disk, MiB", size / MIB
    files, size = weigh_removed(process.pid for process in processes.values())
    yield "removed, open", "files", files
    yield "removed, open", "disk, MiB", size / MIB
    files, size = weigh(folders.records)
    yield "records", "files", files
    yield "records", "records, MiB", size / MIB


def weigh(folder: Path) -> tuple[int, int]:
    """Return the number of entries below a folder and their bytes, without those that vanish meanwhile."""
    count = size = 0
    for path in folder.rglob("*"):
        try:
            size += path.lstat().st_size
        except OSError:
            continue
        count += 1
    return count, size


def weigh_removed(pids: Iterable[int]) -> tuple[int, int]:
    """Return the number of files that processes hold open although they are removed, and their bytes (Linux)."""
    sizes: dict[tuple[int, int], int] = {}
    for pid in pids:
        for link in Path(f"/proc/{pid}/fd").glob("*"):
            try:
                name, status = str(link.readlink()), link.stat()
            except OSError:
                continue
            if name.endswith(" (deleted)") and not name.startswith("/memfd:") and stat.S_ISREG(status.st_mode):
                sizes[status.st_dev, status.st_ino] = status.st_size
    return len(sizes), sum(sizes.values())
