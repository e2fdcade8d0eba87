"""The machine that a test ran on."""

import platform
from importlib.metadata import version
from pathlib import Path

import psutil

from common.cores import usable_cores
from common.git import revision
from loadtest.judge.summary import Machine

CHECKOUT = Path(__file__).resolve().parents[2]
CPUINFO = Path("/proc/cpuinfo")
# Flags in Linux's /proc/cpuinfo, one of which says that the processor has the instruction set.
INSTRUCTION_SETS = {
    "AVX2": {"avx2"},
    "AVX-512": {"avx512f"},
    "VNNI": {"avx512_vnni", "avx_vnni"},
    "AMX": {"amx_tile"},
}


def stolen() -> tuple[float, float]:
    """Return the processor time since the machine's start that its host gave to others, and all of it, in seconds."""
    times = psutil.cpu_times()
    return float(getattr(times, "steal", 0.0)), float(sum(times))


def stolen_share(before: tuple[float, float]) -> float:
    """Return the share of the processor time that the host gave to other machines since then.

    Args:
        before: the value of `stolen` at that time.
    """
    now = stolen()
    return round((now[0] - before[0]) / max(now[1] - before[1], 0.01), 3)


def describe(processes: int, before: tuple[float, float]) -> Machine:
    """Return this machine and what it runs.

    Args:
        processes: number of processes that generated load.
        before: the value of `stolen` at the start.
    """
    return Machine(
        processors=float(usable_cores()),
        processor=processor(),
        memory_bytes=int(psutil.virtual_memory().total),
        python=platform.python_version(),
        locust=version("locust"),
        processes=processes,
        stolen=stolen_share(before),
    )


def processor() -> str:
    """Return the name of the processor's model."""
    return cpuinfo("model name") or platform.processor() or platform.machine()


def instruction_sets() -> list[str]:
    """Return those of AVX2, AVX-512, VNNI and AMX that the processor has; nothing where Linux does not say."""
    flags = set(cpuinfo("flags").split())
    return [name for name, any_of in INSTRUCTION_SETS.items() if flags & any_of]


def cpuinfo(key: str) -> str:
    """Return a line of the first processor in /proc/cpuinfo; empty where there is none."""
    try:
        lines = CPUINFO.read_text().splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.partition(":")[0].strip() == key), "")


def tested_revision() -> str | None:
    """Return the git revision of the checkout that this file lies in; None outside of a checkout."""
    return revision(CHECKOUT, digits=12)
