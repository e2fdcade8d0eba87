"""Tickets: each fires on its cause, and the server that is well has none, as promtool evaluates them."""

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.monitoring.fleet import PROTOCOLS, REQUESTS, Pod
from tests.monitoring.support import Alerts, evaluate, needs_promtool

pytestmark = needs_promtool
EVERY_S = 60
Step = Callable[[Pod], None]


def tickets(*names: str) -> Alerts:
    return {("ticket", name) for name in names}


def well(pod: Pod) -> None:
    for protocol in PROTOCOLS:
        pod.ask(60, protocol)


def stale_heartbeats(pod: Pod) -> None:
    well(pod)
    pod.set("catsdogs_worker_heartbeat_age_seconds", 40, worker="1")


def torchserve_silent(pod: Pod) -> None:
    well(pod)
    pod.set("catsdogs_torchserve_up", 0)


def a_worker_missing(pod: Pod) -> None:
    well(pod)
    pod.set("catsdogs_workers_ready", 1)


def workers_that_end(pod: Pod) -> None:
    well(pod)
    if pod.scrapes % 10 == 0:
        pod.count("catsdogs_worker_restarts_total", 1, reason="memory")


def java_that_ends(pod: Pod) -> None:
    well(pod)
    if pod.scrapes % 15 == 0:
        pod.count("catsdogs_torchserve_restarts_total", 1)


def a_full_queue(pod: Pod) -> None:
    well(pod)
    pod.set("catsdogs_queue_requests", 30)


def refused_inputs(pod: Pod) -> None:
    well(pod)
    pod.ask(1000, code="415", seconds=0.001)


def without_buckets(pod: Pod) -> None:
    """Answer as a version would whose histogram has no such bucket."""
    well(pod)
    pod.values = {key: value for key, value in pod.values.items() if key[0] != f"{REQUESTS}_bucket"}


BLIND: Alerts = {("ticket", "CatsdogsIndicatorBlind", protocol) for protocol in ("rest", "grpc")}


@pytest.mark.parametrize(
    ("cause", "expected"),
    [
        (well, set()),
        (stale_heartbeats, tickets("CatsdogsDataStale")),
        (torchserve_silent, tickets("CatsdogsDataStale")),
        (a_worker_missing, tickets("CatsdogsWorkersMissing")),
        (workers_that_end, tickets("CatsdogsWorkerRestarts")),
        (java_that_ends, tickets("CatsdogsTorchServeRestarts")),
        (a_full_queue, tickets("CatsdogsQueueSaturated")),
        (refused_inputs, tickets("CatsdogsInputsRefused")),
        (without_buckets, BLIND),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_each_cause_makes_its_ticket(cause: Step, expected: Alerts, tmp_path: Path) -> None:
    pod = Pod()
    for _ in range(61):
        cause(pod)
        pod.scrape()
    groups = "" if cause is well else "blind|server"
    evaluate(tmp_path, pod.series(), EVERY_S, {"1h": expected}, groups=groups)


@pytest.mark.parametrize(
    ("tracks", "expected"),
    [
        pytest.param(("stable", "stable"), tickets("CatsdogsVersionSkew"), id="a rollout that hangs"),
        pytest.param(("stable", "canary"), set(), id="a canary"),
    ],
)
def test_two_versions_side_by_side_make_a_ticket_unless_one_is_a_canary(
    tracks: tuple[str, str], expected: Alerts, tmp_path: Path
) -> None:
    series: dict[str, list[float | str]] = {}
    for name, version, track in zip("ab", ("0.2.0", "0.3.0"), tracks, strict=True):
        pod = Pod(name, version)
        for _ in range(61):
            well(pod)
            pod.scrape()
        series |= pod.series(track=track)
    evaluate(tmp_path, series, EVERY_S, {"1h": expected}, groups="server")


def quiet(every_s: int, hours: int) -> Pod:
    """Return a pod with Poisson arrivals that follow the hour, few failures, some slow requests, and restarts."""
    chance = random.Random(0)
    pod = Pod()
    for scrape in range(hours * 3600 // every_s):
        hour = scrape * every_s // 3600 % 24
        mean = (0.2 + 2 * (8 <= hour < 20)) * every_s
        requests = max(0, round(chance.gauss(mean, mean**0.5)))
        failed = sum(chance.random() < 0.0003 for _ in range(requests))
        late = sum(chance.random() < 0.003 for _ in range(requests))
        if hour == 3 and scrape * every_s % 86400 % 3600 == 0:
            pod.begin()
        pod.ask(requests - failed - late)
        pod.ask(failed, code="503")
        pod.ask(late, seconds=1.5)
        pod.scrape()
    return pod


def test_a_quiet_hour_raises_nothing(tmp_path: Path) -> None:
    times: dict[str, Alerts] = {f"{minute}m": set() for minute in range(1, 60)}
    evaluate(tmp_path, quiet(15, 1).series(), 15, times, groups="failing|blind|server|-rest")
