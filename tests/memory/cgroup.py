"""A control group of a container's size, for processes of the tests. Linux, as root."""

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

V2 = Path("/sys/fs/cgroup")
V1 = V2 / "memory"


def available() -> bool:
    """Whether groups with a memory limit can be made here."""
    v1 = (V1 / "memory.limit_in_bytes").exists()
    try:
        v2 = "memory" in (V2 / "cgroup.subtree_control").read_text().split()
    except OSError:
        v2 = False
    return os.geteuid() == 0 and (v1 or v2)


@dataclass(frozen=True)
class Group:
    """One group; a context manager, which must be left when its processes have ended."""

    name: str
    limit_mib: int

    @property
    def folder(self) -> Path:
        return (V1 if (V1 / "memory.limit_in_bytes").exists() else V2) / self.name

    @property
    def is_v1(self) -> bool:
        return self.folder.parent == V1

    def __enter__(self) -> "Group":
        self.folder.mkdir()
        limit = self.folder / ("memory.limit_in_bytes" if self.is_v1 else "memory.max")
        limit.write_text(str(self.limit_mib << 20))
        return self

    def __exit__(self, *reason: object) -> None:
        deadline = time.monotonic() + 20
        while (self.folder / "cgroup.procs").read_text() and time.monotonic() < deadline:
            time.sleep(0.1)
        self.folder.rmdir()

    def within(self, command: Sequence[str]) -> list[str]:
        """The command line that runs `command` in this group."""
        return ["/bin/sh", "-c", f'echo $$ > {self.folder}/cgroup.procs && exec "$@"', "sh", *command]

    def kills(self) -> int:
        """The number of its processes that the kernel has killed for lack of memory."""
        file = self.folder / ("memory.oom_control" if self.is_v1 else "memory.events")
        return int(dict(line.split() for line in file.read_text().splitlines())["oom_kill"])

    def peak_mib(self) -> float:
        """The most that it has held, with the kernel's buffers and files in memory."""
        file = self.folder / ("memory.max_usage_in_bytes" if self.is_v1 else "memory.peak")
        return int(file.read_text()) / 2**20

    def anonymous_mib(self) -> float:
        """Anonymous memory, which cannot be given back: without caches of files."""
        name = "rss" if self.is_v1 else "anon"
        return int(dict(line.split() for line in (self.folder / "memory.stat").read_text().splitlines())[name]) / 2**20
