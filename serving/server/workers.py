"""Says in plain words how each worker ended, and when there is another in its place."""

import json
import signal
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Say = Callable[[str], None]
# Workers that die one after another end with TorchServe's back-off; this bounds what is written of them.
MAX_LINES = 30
WINDOW_S = 60.0


def describe_exit(code: int) -> str:
    """Return how a process ended, from subprocess's return code: "with status 1", "by signal 9 (SIGKILL)"."""
    if code >= 0:
        return f"with status {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        return f"by signal {-code}"
    return f"by signal {-code} ({name})"


@dataclass(slots=True)
class Bounded:
    """Passes at most MAX_LINES sentences in WINDOW_S on, and says how many it left out."""

    say: Say
    times: deque[float] = field(default_factory=deque)
    left_out: int = 0

    def __call__(self, sentence: str) -> None:
        now = time.monotonic()
        while self.times and now - self.times[0] > WINDOW_S:
            self.times.popleft()
        if len(self.times) >= MAX_LINES:
            self.left_out += 1
            return
        if self.left_out:
            self.say(f"{self.left_out} lines like these were omitted.")
            self.left_out = 0
        self.times.append(now)
        self.say(sentence)


# Sooner than TorchServe's responseTimeout, 10 s, no worker is called hung.
HUNG_S = 9.0


class WorkerLog:
    """Reads what serving/server/worker.py records and what the workers' heartbeats say."""

    def __init__(
        self,
        records: Path,
        heartbeats: Path,
        say: Say,
        restarted: bool = False,
        count_end: Callable[[str], None] = lambda reason: None,
    ) -> None:
        self.records = records
        self.heartbeats = heartbeats
        self.say = Bounded(say)
        self.offset = 0
        self.known: set[int] = set()
        self.missing = 0
        self.restarted = restarted
        self.count_end = count_end
        """Takes why a worker ended, as the metric's label has it: hung, memory or ended."""

    def read(self) -> list[dict[str, Any]]:
        """Return what was recorded since it was last read."""
        try:
            with self.records.open("rb") as file:
                file.seek(self.offset)
                block = file.read()
        except OSError:
            return []
        whole = block[: block.rfind(b"\n") + 1]
        self.offset += len(whole)
        return [json.loads(line) for line in whole.splitlines()]

    def tell(self, records: list[dict[str, Any]]) -> None:
        """Say how workers ended, and which are new in their place."""
        for record in records:
            self.missing += 1
            reason, sentence = self.explain(record)
            self.count_end(reason)
            self.say(sentence)
        current = {int(path.stem) for path in self.heartbeats.glob("[0-9]*.json")}
        for pid in sorted(current - self.known):
            if self.restarted:
                self.restarted = False
                self.say(f"TorchServe answers again, with worker {pid}.")
            elif self.missing:
                self.missing -= 1
                self.say(f"Worker {pid} is ready, in place of one that ended.")
        self.known = current

    def explain(self, record: dict[str, Any]) -> tuple[str, str]:
        """Return why a worker ended, in a word and in a sentence; its heartbeat file is of no use then, and removed."""
        pid, code = record["pid"], record["exit"]
        path = self.heartbeats / f"{pid}.json"
        try:
            beat = json.loads(path.read_bytes())
        except (OSError, ValueError):
            beat = None
        path.unlink(missing_ok=True)
        self.known.discard(pid)
        again = "TorchServe starts another."
        if record["by_frontend"] and beat and beat["busy_since"]:
            busy_s = time.time() - beat["busy_since"]
            if busy_s < HUNG_S:  # it was Java that ended, and its workers with it
                return "ended", f"Worker {pid} was killed while it worked on a batch. {again}"
            hung = f"Worker {pid} hung: it did not answer a batch within {busy_s:.0f} s, and was killed. {again}"
            return "hung", hung
        if record["by_frontend"] and beat and (silent_s := time.time() - beat["time"]) >= HUNG_S:
            return "hung", f"Worker {pid} hung: it sent no heartbeat for {silent_s:.0f} s, and was killed. {again}"
        if record["by_frontend"]:
            early = "" if beat else f" before it was ready{self.failure()}"
            return "ended", f"Worker {pid} was killed by TorchServe{early}. {again}"
        if beat is None:
            return "ended", f"Worker {pid} ended {describe_exit(code)} before it was ready{self.failure()}. {again}"
        if code == -signal.SIGKILL and record["memory_kill"]:
            return "memory", (
                f"Worker {pid} was killed by the kernel for lack of memory (SIGKILL). {again} "
                "Raise the memory limit, or lower the number of workers."
            )
        reason = "" if code != -signal.SIGKILL or record["memory_kill"] is None else ", not for lack of memory"
        return "ended", f"Worker {pid} ended {describe_exit(code)}{reason}. {again}"

    def failure(self) -> str:
        try:
            return f": {(self.heartbeats / 'failure.txt').read_text()}"
        except OSError:
            return ""
