"""More pods where the CPU is busy, fewer where it is not, and no request lost on either way."""

from collections.abc import Iterator
from functools import partial

import pytest

from tests.cluster.support import Cluster, load, wait_for

pytestmark = pytest.mark.breadth

# The small values ask for a fifth of a core, and a request takes a tenth of one for a second at most: steady clients
# leave one pod with half of what is aimed at, and the peak, if the cluster has half a core left, wants three.
AUTOSCALING = {"type": "hpa", "minReplicas": 1, "maxReplicas": 3, "cpuPercent": 100, "scaleDownSeconds": 15}
STEADY, PEAK = 1.0, 20.0


@pytest.fixture(scope="module")
def autoscaled(cluster: Cluster, namespace: str) -> Iterator[str]:
    """Turned on for a release that runs."""
    cluster.install(namespace)
    before = {pod.metadata.name for pod in cluster.pods(namespace)}
    cluster.upgrade(namespace, autoscaling=AUTOSCALING)
    assert {pod.metadata.name for pod in cluster.pods(namespace)} == before, "turning it on replaced or ended pods"
    yield namespace
    cluster.uninstall(namespace)


def test_pods_come_with_the_load_and_go_with_it_and_nothing_is_lost(
    cluster: Cluster, autoscaled: str, tell: list[str]
) -> None:
    def pods(count: int) -> bool:
        return len(cluster.ready(autoscaled)) == len(cluster.pods(autoscaled)) == count

    clients = partial(load, cluster, autoscaled, rest=["catsdogs:8080"], grpc=["catsdogs:7070"])
    with clients(rate=STEADY, clients=1, name="steady") as steady:
        wait_for(lambda: pods(1), 300, "one pod is enough for the steady clients", 1)
        with clients(rate=PEAK, clients=4, name="peak") as peak:
            wait_for(lambda: pods(3), 300, "the peak brought two more", 1)
            settled = peak.wait_for_more(200, peak.totals())
            assert peak.failures(0) == []
        wait_for(lambda: pods(1), 420, "they went again", 1)
        # What they may still have had in hand was answered by now.
        last = steady.wait_for_more(20, steady.totals())
        assert steady.failures(0) == []
    count = sum(settled.sent.values()) + sum(last.sent.values())
    tell.append(f"autoscaled by CPU from 1 pod to 3 and back: 0 of {count:,} failed")
