"""Measurement of a server's resources: each process's memory, descriptors and threads, and the files it leaves."""

from collections.abc import Iterator
from pathlib import Path

import psutil

MIB = 2**20


class Lost(Exception):
    """A process ended, so what follows is another server."""


def name_processes(launcher: psutil.Process, workers: int) -> dict[str, psutil.Process]:
    """Return the processes, by name, of a ready server that `catsdogs serve` started.

    Raises:
        Lost: there are not as many workers.
    """
    named = {"launcher": launcher}
    of_workers = []
    for process in launcher.children(recursive=True):
        command = " ".join(process.cmdline())
        if "model_service_worker.py" in command:
            of_workers.append(process)
        elif "org.pytorch.serve.ModelServer" in command:
            named["java"] = process
        elif "Caddyfile" in command:
            named["caddy"] = process
    if len(of_workers) != workers:
        raise Lost(f"{len(of_workers)} of {workers} workers are there")
    by_age = sorted(of_workers, key=lambda process: process.create_time())
    return named | {f"worker {number}": process for number, process in enumerate(by_age, 1)}


def sample(processes: dict[str, psutil.Process], folder: Path) -> Iterator[tuple[str, str, float]]:
    """Subject, quantity and value. Memory is what a process has for itself (USS); `folder` is its TMPDIR.

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
    files, size = weigh(folder)
    yield "folders", "files", files
    yield "folders", "disk, MiB", size / MIB


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
