"""CPU and memory limits of this process's control group, of version 2 or 1."""

from collections.abc import Iterator
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
OWN = Path("/proc/self/cgroup")
# Version 1 says so where no memory is limited, less a page.
UNLIMITED_MIB = 1 << 40


def memory_limit(root: Path = ROOT, own: Path = OWN) -> int | None:
    """Return the memory limit in MiB, the smallest that is set from this group upwards, or None where none is."""
    limits = []
    for folder in _folders(root, own, "memory"):
        for name in ("memory.max", "memory.limit_in_bytes"):
            limit = _number(folder / name)
            if limit is not None and limit >> 20 < UNLIMITED_MIB:
                limits.append(limit >> 20)
    return min(limits, default=None)


def cpu_quota(root: Path = ROOT, own: Path = OWN) -> float | None:
    """Return how many cores' time may be used, the smallest that is set from this group upwards, or None."""
    quotas = []
    for folder in _folders(root, own, "cpu"):
        try:
            quota, period = (folder / "cpu.max").read_text().split()
            quotas.append(int(quota) / int(period))
        except (OSError, ValueError, ZeroDivisionError):
            pass
        given, period_us = _number(folder / "cpu.cfs_quota_us"), _number(folder / "cpu.cfs_period_us")
        # Version 1 says -1 where there is no quota.
        if given is not None and given > 0 and period_us:
            quotas.append(given / period_us)
    return min(quotas, default=None)


def _folders(root: Path, own: Path, controller: str) -> Iterator[Path]:
    """Yield the folders that may hold this process's limits, of cgroups v1 and v2; in a container it is the root."""
    yield root
    yield root / controller
    try:
        lines = own.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        folder = root / controller if controllers else root
        for part in path.split("/"):
            if part:
                folder /= part
                yield folder


def _number(file: Path) -> int | None:
    try:
        return int(file.read_text())
    except (OSError, ValueError):
        return None
