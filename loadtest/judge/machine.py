"""The machine that a test ran on, and the revision of the code."""

import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path

import psutil

from loadtest.judge.summary import Machine

ROOT = Path(__file__).resolve().parents[2]


def stolen() -> tuple[float, float]:
    """Processor time since the machine's start that its host gave to others, and all; seconds."""
    times = psutil.cpu_times()
    return float(getattr(times, "steal", 0.0)), float(sum(times))


def describe(processes: int, before: tuple[float, float]) -> Machine:
    """
    Args:
        before: what `stolen` said at the start.
    """
    now = stolen()
    return Machine(
        processors=float(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1),
        processor=processor(),
        memory_bytes=int(psutil.virtual_memory().total),
        python=platform.python_version(),
        locust=version("locust"),
        processes=processes,
        stolen=round((now[0] - before[0]) / max(now[1] - before[1], 0.01), 3),
    )


def processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def revision() -> str | None:
    """Return the git revision of the checkout that this file lies in; None outside of a checkout."""
    if not (ROOT / ".git").exists():
        return None
    try:
        sha = subprocess.run(
            ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"],
            capture_output=True,
            text=True,
            check=True,
            timeout=10,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return sha.stdout.strip() or None
