"""Judges whether the server is ready and whether it is alive. Standard library only: a pod's probes start it anew.

TorchServe's own /ping says Healthy with no model at all. Here the server is ready when its frontend answers and at
least one worker, which has answered its warm-up, has sent a heartbeat within BEAT_S and is not stuck in a batch.
No question waits behind the workers' requests.
"""

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from serving.health.heartbeats import Beat, last_sign, live_beats, live_workers, why
from serving.health.torchserve_client import NO_IMAGE, frontend_answers, worker_status

PATIENT_S = 5.0
POLL_S = 0.1
DEAD_S = 60.0


@dataclass(frozen=True, slots=True)
class Health:
    """The outcome of a look at the workers. `reason` says why they are not ready."""

    ready: bool
    workers: int
    reason: str = ""
    pids: tuple[int, ...] = ()
    """Process ids of the workers that can answer."""


def check(run: Path) -> Health:
    """Return the health of the TorchServe whose run directory this is."""
    pids = tuple(live_workers(run / "heartbeats", time.time()))
    if not pids:
        return Health(False, 0, "no worker can answer")
    if not frontend_answers(run):
        return Health(False, len(pids), "the frontend does not answer", pids)
    return Health(True, len(pids), pids=pids)


def is_live(run: Path, now: float) -> Health:
    """Slow to judge: dead is a frontend that does not answer, a server none of whose workers has beaten or ended a
    batch for DEAD_S, and one whose workers wait while no request reaches them. A busy worker is alive, and one that is
    replaced is back long before that."""
    workers = live_beats(run / "heartbeats", now)
    if not workers and now - last_sign(run) > DEAD_S:
        return Health(False, 0, f"no worker has given a sign of life for {DEAD_S:.0f} s")
    if not frontend_answers(run, PATIENT_S):
        return Health(False, len(workers), "the frontend does not answer")
    if workers and all(beat["busy_since"] is None for beat in workers) and not is_served(run, workers):
        return Health(False, len(workers), "no request reaches the workers")
    return Health(True, len(workers))


def is_served(run: Path, idle: Sequence[Beat]) -> bool:
    """Whether a request reaches one of the workers that had nothing to do.

    TorchServe's thread for a worker may end and leave the process, which beats on. Where the request waits behind
    others, or the queue is full, what the workers do meanwhile is the answer.
    """
    give_up = time.monotonic() + PATIENT_S
    if worker_status(run, PATIENT_S) == NO_IMAGE:
        return True
    batches = {beat["pid"]: beat.get("batches") for beat in idle}
    while True:
        later = live_beats(run / "heartbeats", time.time())
        works = any(beat["busy_since"] or beat.get("batches") != batches.get(beat["pid"]) for beat in later)
        if works or not later:  # being replaced, which may take DEAD_S
            return True
        if time.monotonic() > give_up:
            return False
        time.sleep(POLL_S)


def main(arguments: Sequence[str]) -> int:
    """`python -m serving.health.probe startup|ready|live RUN`: what probes execute; 0 is yes, and 1 says why not."""
    judges: dict[str, Callable[[Path], Health]] = {
        "startup": check,
        "ready": check,
        "live": lambda folder: is_live(folder, time.time()),
    }
    try:
        question, run = arguments
        judge = judges[question]
    except (ValueError, KeyError):
        print("usage: python -m serving.health.probe startup|ready|live RUN", file=sys.stderr)
        return 2
    try:
        health = judge(Path(run))
    except OSError as error:
        health = Health(False, 0, f"{run} is not the folder of a running server: {error.strerror}")
    if not health.ready:
        print(f"{question}: no, {health.reason}{why(Path(run))}", file=sys.stderr)
    return not health.ready


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
