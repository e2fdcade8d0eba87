"""So many clients that wait for their answers: how much a server can do. What users feel is an open loop's to say."""

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


@dataclass(frozen=True, slots=True)
class Loop:
    """Seconds, and answers per second."""

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


def ask_for(
    make: Callable[[], Http], pictures: Sequence[Picture], clients: int, seconds: float, warmup: float = 0.0
) -> Loop:
    """Each client asks again as soon as it is answered.

    Args:
        make: a client of the server.
        seconds: that are measured, after the warm-up. A request counts where its answer comes in them.
    """
    begin = time.perf_counter() + warmup
    end = begin + seconds
    latencies: list[float] = []
    right = 0
    failed: Counter[str] = Counter()
    lock = threading.Lock()

    def run(seed: int) -> None:
        nonlocal right
        client, rng = make(), random.Random(seed)
        try:
            while (sent := time.perf_counter()) < end:
                picture = rng.choice(pictures)
                try:
                    answer = client.ask(picture)
                except (Wrong, OSError, http.client.HTTPException) as error:
                    with lock:
                        failed[f"{type(error).__name__}: {error}"] += 1
                    time.sleep(0.1)  # a server that refuses is not to be asked at the speed of refusals
                    continue
                now = time.perf_counter()
                if begin <= now < end:
                    with lock:
                        latencies.append(now - sent)
                        right += answer is not None and answer.label == picture.label
        finally:
            client.close()

    threads = [threading.Thread(target=run, args=(seed,)) for seed in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return Loop(
        clients=clients,
        rate=len(latencies) / seconds,
        p50=quantile(latencies, 50),
        p99=quantile(latencies, 99),
        answers=len(latencies),
        right=right,
        failed=dict(failed),
    )


def quantile(values: Sequence[float], percent: int) -> float:
    if len(values) < 2:
        return values[0] if values else float("nan")
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]
