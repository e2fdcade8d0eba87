"""CPU time of a running server's processes, by their part in it (Linux)."""

import os
from collections.abc import Sequence
from pathlib import Path

import psutil

PARTS = ("gateway", "relay", "java", "worker", "launcher")
TICKS = os.sysconf("SC_CLK_TCK")
PROC = Path("/proc")
WORKER = "model_service_worker.py"


def part_of(command: Sequence[str]) -> str:
    """Return the part of the server that a process with this command line is."""
    program = Path(command[0]).name if command else ""
    if program in ("caddy", "java"):
        return "gateway" if program == "caddy" else "java"
    # The recorder that stands before a worker names it in its command line too, and runs without site packages.
    if "-S" not in command and any(argument.endswith(WORKER) for argument in command):
        return "worker"
    return "relay" if "gateway" in command else "launcher"


def cpu_seconds(server: int) -> dict[str, float]:
    """Return the CPU time that each part of a server has used, in user and in kernel mode.

    Args:
        server: process id of `catsdogs serve`.
    """
    leader = psutil.Process(server)
    used = dict.fromkeys(PARTS, 0.0)
    for process in (leader, *leader.children(recursive=True)):
        used[part_of(process.cmdline())] += process_seconds(process.pid)
    return used


def process_seconds(pid: int) -> float:
    """Return the CPU time of one process with all its threads."""
    # The program's name, in parentheses, may hold spaces.
    fields = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS
