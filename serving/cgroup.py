"""What the control group of this process may use, by the kernel's version 2 or 1."""

from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
OWN = Path("/proc/self/cgroup")
# Version 1 says so where nothing is limited, less a page.
UNLIMITED_MIB = 1 << 40


def memory_limit(root: Path = ROOT, own: Path = OWN) -> int | None:
    """Return the memory limit in MiB, the smallest that is set from this group upwards, or None where none is."""
    limits = [limit for file in _files(root, own) if (limit := _read(file)) is not None]
    return min(limits, default=None)


def _files(root: Path, own: Path) -> list[Path]:
    try:
        lines = own.read_text().splitlines()
    except OSError:
        lines = []
    # In a container the group's own path may not be there, and what lies at the root is the container's.
    files = [root / "memory.max", root / "memory" / "memory.limit_in_bytes"]
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            base, name = root, "memory.max"
        elif "memory" in controllers.split(","):
            base, name = root / "memory", "memory.limit_in_bytes"
        else:
            continue
        parts = [part for part in path.split("/") if part]
        files += [base.joinpath(*parts[:depth], name) for depth in range(1, len(parts) + 1)]
    return files


def _read(file: Path) -> int | None:
    try:
        mib = int(file.read_text()) >> 20
    except (OSError, ValueError):
        return None
    return mib if mib < UNLIMITED_MIB else None
