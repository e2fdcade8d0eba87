"""Six hours of a simulated service for the pictures of the board: quiet ones, and ones with an incident in them."""

import math
import random
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tests.monitoring.blocks import Samples
from tests.monitoring.fleet import GIVEN, STAGES, Pod

EVERY_S, HOURS = 15, 6
PODS = ("catsdogs-7d4b-x2k", "catsdogs-7d4b-q9w")
# The incident goes on when the picture is taken.
BEGIN_S = 5 * 3600 + 600
DECODE_S = 0.9


@dataclass(frozen=True, slots=True)
class Times:
    """Seconds of a request in each stage."""

    queue: float = STAGES["queue"]
    decode: float = STAGES["decode"]
    network: float = STAGES["network"]


State = Callable[[int], Times]


def quiet(second: int) -> Times:
    return Times()


def slow_decode(second: int) -> Times:
    """Return the times of a server whose pictures take long to decode, so that others wait."""
    return Times(queue=1.4, decode=DECODE_S) if second >= BEGIN_S else Times()


def answer(pod: Pod, requests: int, times: Times, chance: random.Random) -> None:
    """Count requests of one protocol that take about these times, and those that went otherwise."""
    for _ in range(requests):
        spread = chance.lognormvariate(0, 0.5)
        taken = {stage: spread * getattr(times, stage) for stage in STAGES}
        protocol = chance.choices(("rest", "multipart", "kserve", "grpc"), (70, 10, 5, 15))[0]
        kind = chance.random()
        if kind < 0.01:
            pod.observe("catsdogs_request_duration_seconds", 1, 0.002, protocol=protocol, code="415", traffic="user")
            pod.count("catsdogs_problems_total", 1, code="unsupported_image", traffic="user")
            continue
        pod.observe(
            "catsdogs_request_duration_seconds", 1, sum(taken.values()), protocol=protocol, code="200", traffic="user"
        )
        for stage, seconds in taken.items():
            pod.observe("catsdogs_stage_duration_seconds", 1, seconds, stage=stage)
        pod.observe("catsdogs_prediction_uncertainty_ratio", 1, min(0.5, chance.expovariate(40)))
        pod.count("catsdogs_worker_busy_seconds_total", taken["decode"] + taken["network"])
        pod.count("catsdogs_predictions_total", 1, **{"class": chance.choice(GIVEN["class"])}, traffic="user")
    pod.observe("catsdogs_batch_pictures", max(1, requests / 2), 2)
    bins = np.random.default_rng(pod.scrapes).multinomial(requests, [0.1] * 10)
    pod.pictures([float(count) for count in bins])


def service(state: State) -> dict[str, Samples]:
    """Return the series of two pods over the hours."""
    chance = random.Random(0)
    made: dict[str, Samples] = {}
    for name in PODS:
        pod = Pod(name)
        for scrape in range(HOURS * 3600 // EVERY_S + 1):
            second = scrape * EVERY_S
            times = state(second)
            mean = (1.2 + 0.5 * math.sin(second / 3600)) * EVERY_S
            answer(pod, max(0, round(chance.gauss(mean, mean**0.5))), times, chance)
            waiting = 1.2 * times.queue
            pod.set("catsdogs_queue_requests", round(chance.expovariate(1 / (waiting + 0.01))))
            held = waiting + 1.2 * (times.decode + times.network)
            pod.set("catsdogs_requests_in_flight", round(chance.expovariate(1 / held)), stage="torchserve")
            pod.set("catsdogs_worker_heartbeat_age_seconds", chance.uniform(0.1, 1))
            pod.scrape()
        for key, samples in pod.series().items():
            made[key] = np.array([value if isinstance(value, (int, float)) else np.nan for value in samples])
    return made
