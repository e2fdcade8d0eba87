"""Runs in processes of their own, so many at once, each with its share of the processor's cores."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from common.cores import usable_cores
from training.interrupts import held_back
from training.learning.history import EpochLine, read_whole_history

LOG = "train.log"
POLL_S = 0.1


@dataclass(frozen=True, slots=True)
class Job:
    """A run to be trained: its name, its folder, and the arguments of `catsdogs train`."""

    name: str
    folder: Path
    arguments: Sequence[str]


@dataclass(frozen=True, slots=True)
class Outcome:
    """Outcome of a run: its epochs, and the last line that it printed where it failed."""

    name: str
    history: list[EpochLine]
    failure: str = ""

    @property
    def best(self) -> EpochLine:
        return max(self.history, key=lambda line: (line.val_accuracy, -line.val_loss))


def train_all(
    jobs: Sequence[Job], at_once: int, environment: Mapping[str, str], on_end: Callable[[Outcome], None]
) -> list[Outcome]:
    """Train each run, and return the outcomes in the order of `jobs`.

    A run that stands unfinished in its folder goes on. Where this process is stopped, the runs are, and keep their
    whole epochs.
    """
    waiting, running, ended = list(jobs), dict[str, subprocess.Popen[bytes]](), dict[str, Outcome]()
    threads = {"OMP_NUM_THREADS": str(max(1, usable_cores() // at_once))}
    folders = {job.name: job.folder for job in jobs}
    try:
        while waiting or running:
            while waiting and len(running) < at_once:
                job = waiting.pop(0)
                running[job.name] = _start(job, {**threads, **os.environ, **environment})
            time.sleep(POLL_S)
            for name in [name for name, process in running.items() if process.poll() is not None]:
                ended[name] = _outcome(name, folders[name], running.pop(name).returncode)
                on_end(ended[name])
    finally:
        for process in running.values():
            process.terminate()
        for process in running.values():
            process.wait()
    return [ended[job.name] for job in jobs]


def _start(job: Job, environment: Mapping[str, str]) -> "subprocess.Popen[bytes]":
    job.folder.mkdir(parents=True, exist_ok=True)
    resume = ["--resume"] if (job.folder / "last.pt").exists() else []
    command = [sys.executable, "-m", "catsdogs", "train", "--run", str(job.folder), *job.arguments, *resume]
    # A terminal's Ctrl-C would reach a run beside our SIGTERM, and the second of them would stop what it ends with.
    with (job.folder / LOG).open("ab") as log, held_back():
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=dict(environment))


def _outcome(name: str, folder: Path, status: int) -> Outcome:
    if status == 0:
        return Outcome(name, read_whole_history(folder / "history.csv"))
    said = (folder / LOG).read_text(errors="replace").splitlines()
    last = next((line for line in reversed(said) if line.strip()), f"exit status {status}")
    return Outcome(name, [], last.removeprefix("catsdogs: "))
