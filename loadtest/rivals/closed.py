"""Closed loop: clients that send their next request once the last is answered. It measures what a server can do.

What users wait for is measured by an open loop, `catsdogs loadtest`.
"""

import http.client
import random
import statistics
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from loadtest.generate.clients import Http, Wrong
from loadtest.generate.pictures import Picture

# A server that refuses is not asked at the speed of its refusals.
PAUSE_S = 0.1


@dataclass(frozen=True, slots=True)
class Loop:
    """Figures of one closed loop, in seconds, and in answers per second."""

    clients: int
    rate: float
    p50: float
    """Not a number where nothing was answered, as is p99."""
    p99: float
    answers: int
    right: int
    """Number of answers with the picture's label."""
    failed: dict[str, int] = field(default_factory=dict)
    """Failures by kind."""


class Record:
    """The answers and failures of a loop's clients in its measured time, from `begin` to `end`."""

    def __init__(self, begin: float, end: float) -> None:
        self.begin, self.end = begin, end
        self.latencies: list[float] = []
        self.right = 0
        self.failed: Counter[str] = Counter()
        self.lock = threading.Lock()

    def answered(self, sent: float, now: float, right: bool) -> None:
        if self.begin <= now < self.end:
            with self.lock:
                self.latencies.append(now - sent)
                self.right += right

    def refused(self, error: Exception) -> None:
        with self.lock:
            self.failed[f"{type(error).__name__}: {error}"] += 1


def measure(
    make: Callable[[], Http], pictures: Sequence[Picture], clients: int, seconds: float, warmup: float = 0.0
) -> Loop:
    """Return the figures of clients that each send a request as soon as the last one is answered.

    Args:
        make: returns a new client of the server.
        seconds: that are measured, after the warm-up. A request counts where its answer comes in them.
    """
    begin = time.perf_counter() + warmup
    record = Record(begin, begin + seconds)
    threads = [threading.Thread(target=ask, args=(make(), pictures, seed, record)) for seed in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return Loop(
        clients=clients,
        rate=len(record.latencies) / seconds,
        p50=quantile(record.latencies, 50),
        p99=quantile(record.latencies, 99),
        answers=len(record.latencies),
        right=record.right,
        failed=dict(record.failed),
    )


def ask(client: Http, pictures: Sequence[Picture], seed: int, record: Record) -> None:
    """Send requests one after the other until the end of the measured time."""
    rng = random.Random(seed)
    try:
        while (sent := time.perf_counter()) < record.end:
            picture = rng.choice(pictures)
            try:
                answer = client.ask(picture)
            except (Wrong, OSError, http.client.HTTPException) as error:
                record.refused(error)
                time.sleep(PAUSE_S)
            else:
                record.answered(sent, time.perf_counter(), answer is not None and answer.label == picture.label)
    finally:
        client.close()


def quantile(values: Sequence[float], percent: int) -> float:
    if len(values) < 2:
        return values[0] if values else float("nan")
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]
