"""Answers per second of 1, 2 and 3 pods: are they within 5 % of a straight line?

Each pod has so small a share of a core that three of them, the gateways and the clients fit into two cores. Rounds are
interleaved. CATSDOGS_SCALING names a file for the points, which `python -m loadtest.scaling --pods FILE` draws.
"""

import dataclasses
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from common.verdicts import Verdict
from loadtest.scaling.points import Point, objections, table, verdict_of
from tests.cluster.support import Cluster, load, wait_for

pytestmark = pytest.mark.breadth

PODS = (1, 2, 3)
ROUNDS = 3
# A pod's cgroup gives it a quarter of a core and no more, which is about 25 pictures a second in int8.
SHARE: dict[str, Any] = {"torchserve": {"resources": {"limits": {"cpu": "250m"}, "requests": {"cpu": "200m"}}}}
# A queue never runs empty with as many clients. A rate that is never reached makes the clients a closed loop.
CLIENTS_PER_POD, RATE = 8, 10_000.0
# Answers of each pod, before the measurement and in it: half a minute.
WARM, MEASURED = 100, 720
FILE = os.environ.get("CATSDOGS_SCALING", "")


@pytest.fixture(scope="module")
def scaled(cluster: Cluster, namespace: str) -> Iterator[str]:
    cluster.install(namespace, replicas=1, **SHARE)
    yield namespace
    cluster.uninstall(namespace)


def measure(cluster: Cluster, namespace: str, pods: int) -> float:
    """Return the answers per second of so many pods."""
    cluster.upgrade(namespace, replicas=pods, **SHARE)
    wait_for(lambda: len(cluster.ready(namespace)) == len(cluster.pods(namespace)) == pods, 300, f"{pods} pods", 1)
    # Connections are spread over the pods once, when they are made: a pod each, so that none has more than another.
    targets = [f"{pod.status.pod_ip}:8080" for pod in cluster.ready(namespace)]
    with load(
        cluster, namespace, rest=targets, grpc=[], rate=RATE, clients=CLIENTS_PER_POD, name=f"load-{pods}"
    ) as run:
        first = run.wait_for_more(WARM * pods, run.totals())
        last = run.wait_for_more(MEASURED * pods, first)
        assert run.failures(0) == []
    return (sum(last.sent.values()) - sum(first.sent.values())) / (last.time - first.time)


def test_the_rate_grows_in_a_straight_line_with_the_pods(cluster: Cluster, scaled: str, tell: list[str]) -> None:
    points = []
    for turn in range(ROUNDS):
        first = turn % len(PODS)
        for pods in (*PODS[first:], *PODS[:first]):
            points.append(Point("pods", pods, turn, measure(cluster, scaled, pods), allowed=True))
    if FILE:
        Path(FILE).write_text(json.dumps([dataclasses.asdict(point) for point in points], indent=1))
    tell.extend(table(points).splitlines())
    assert verdict_of(points) is Verdict.PASS, "\n".join([*objections(points), table(points)])
