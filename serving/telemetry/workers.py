"""The sum of what the workers of this server have counted, which never goes down.

Each worker writes its counters beside its heartbeat (handler/heartbeat.py). When a worker has ended, its last counts
stay in the sum.
"""

import json
import os
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from handler.heartbeat import COUNTS_SUFFIX
from serving.health.heartbeats import live_beats

REASONS = ("hung", "memory", "ended")
Key = tuple[int, float]


@dataclass(frozen=True, slots=True)
class Totals:
    """One look at the workers.

    `counts` are as handler/counts.py documents them; `infos` what the workers say of their model, each once.
    """

    counts: dict[str, Any]
    infos: list[dict[str, Any]]
    ages_s: dict[int, float]
    """Age of the last heartbeat, by the worker's place."""
    rows: int
    """Requests that the workers held at their last heartbeat."""
    ready: int


@dataclass(slots=True, eq=False)
class Telemetry:
    """Counters of one server's workers. Any thread may use it."""

    ended: dict[str, int] = field(default_factory=lambda: dict.fromkeys(REASONS, 0))
    torchserve_restarts: int = 0
    last: dict[Key, dict[str, Any]] = field(default_factory=dict)
    """The last snapshot of each worker that has not ended."""
    retired: dict[str, Any] = field(default_factory=dict)
    """The sum of those that have."""
    infos: list[dict[str, Any]] = field(default_factory=list)
    places: dict[int, int] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def count_end(self, reason: str) -> None:
        """Count a worker that ended."""
        with self.lock:
            self.ended[reason] += 1

    def collect(self, heartbeats: Path) -> None:
        """Read the workers' files, and remove those of workers that have ended."""
        with self.lock:
            self._collect(heartbeats)

    def look(self, heartbeats: Path) -> Totals:
        """Return everything that is counted, as of now."""
        now = time.time()
        beats = all_beats(heartbeats)
        with self.lock:
            self._collect(heartbeats)
            self._seat([beat["pid"] for beat in beats])
            ages = {self.places[beat["pid"]]: max(0.0, now - beat["time"]) for beat in beats}
            counts = self.retired
            for snapshot in self.last.values():
                counts = add(counts, snapshot["counts"])
            rows = sum(int(beat.get("rows") or 0) for beat in beats)
            ready = len(live_beats(heartbeats, now))
            return Totals(counts, list(self.infos), dict(sorted(ages.items())), rows, ready)

    def _collect(self, heartbeats: Path) -> None:
        for path in sorted(heartbeats.glob(f"[0-9]*{COUNTS_SUFFIX}")):
            # Before it is read: what a process wrote before its end is all that there will be.
            ended = not is_alive(int(path.stem))
            snapshot = read_snapshot(path)
            if snapshot is not None:
                self.last[snapshot["pid"], snapshot["started"]] = snapshot
                self.infos = self.infos or [snapshot["info"]]
            if ended:
                path.unlink(missing_ok=True)
        present = {key for key in self.last if is_alive(key[0])}
        newest = {pid: max(started for other, started in present if other == pid) for pid, _ in present}
        for key in list(self.last):
            if newest.get(key[0]) != key[1]:
                self.retired = add(self.retired, self.last.pop(key)["counts"])
        # Where all workers are being replaced, what the last ones said still holds.
        infos: list[dict[str, Any]] = []
        for snapshot in self.last.values():
            infos += [] if snapshot["info"] in infos else [snapshot["info"]]
        self.infos = infos or self.infos

    def _seat(self, pids: list[int]) -> None:
        """Give each live worker a place, which the next one takes over."""
        self.places = {pid: place for pid, place in self.places.items() if pid in pids}
        for pid in sorted(set(pids) - self.places.keys()):
            taken = set(self.places.values())
            self.places[pid] = next(place for place in range(len(taken) + 1) if place not in taken)


def all_beats(heartbeats: Path) -> list[dict[str, Any]]:
    """Return the heartbeats of the workers that have not ended, also of one that hangs."""
    beats = []
    for path in heartbeats.glob("[0-9]*.json"):
        try:
            beat = json.loads(path.read_bytes())
            if is_alive(beat["pid"]) and isinstance(beat["time"], float):
                beats.append(beat)
        except (OSError, ValueError, LookupError, TypeError):
            continue
    return beats


def read_snapshot(path: Path) -> dict[str, Any] | None:
    """Return a worker's file, or None where it cannot be used."""
    try:
        snapshot = json.loads(path.read_bytes())
        ok = isinstance(snapshot["counts"], dict) and isinstance(snapshot["info"], dict)
        return snapshot if ok and {type(snapshot["pid"]), type(snapshot["started"])} <= {int, float} else None
    except (OSError, ValueError, LookupError, TypeError):
        return None


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def add(first: Any, second: Any) -> Any:
    """Return the sum of two documents of the same form: numbers, and lists and objects of them."""
    if isinstance(first, dict) and isinstance(second, dict):
        return {
            name: add(first[name], second[name])
            if name in first and name in second
            else first.get(name, second.get(name))
            for name in {**first, **second}
        }
    if isinstance(first, list) and isinstance(second, list):
        return [add(left, right) for left, right in zip(first, second, strict=True)]
    return first + second
