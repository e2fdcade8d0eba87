"""A canary under keep-alive REST and gRPC load: it answers beside stable, becomes stable, or never answers at all."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from kubernetes.client import V1Pod

from tests.cluster.models import NEXT_VERSION
from tests.cluster.support import IMAGE, Cluster, Load, is_ready, load, wait_for

pytestmark = pytest.mark.breadth
TAG = IMAGE.rpartition(":")[2]
RATE, LEAST = 20.0, 1000
# Each on a connection of its own: of three pods one is missed by all of them once in 10 million times.
ASK = """
import json, urllib.request
versions = []
for _ in range(40):
    with urllib.request.urlopen("http://catsdogs:8080/v2/models/catsdogs", timeout=30) as response:
        versions += json.load(response)["versions"]
print(json.dumps(versions))
"""


@pytest.fixture(scope="module")
def clients(cluster: Cluster, namespace: str) -> Iterator[Load]:
    cluster.install(namespace)
    with load(cluster, namespace, rest=["catsdogs:8080"], grpc=["catsdogs:7070"], rate=RATE) as running:
        yield running
    cluster.uninstall(namespace)


def of_track(cluster: Cluster, namespace: str, track: str) -> list[V1Pod]:
    return [pod for pod in cluster.pods(namespace) if pod.metadata.labels["track"] == track]


def names(pods: list[V1Pod]) -> set[str]:
    return {pod.metadata.name for pod in pods}


def answered_by(cluster: Cluster, namespace: str) -> set[str]:
    """The versions that the Service leads to."""
    pod = next(pod for pod in of_track(cluster, namespace, "stable") if is_ready(pod))
    return set(json.loads(cluster.shell(namespace, pod.metadata.name, "gateway", ASK)))


@contextmanager
def nothing_is_lost(clients: Load, tell: list[str], what: str) -> Iterator[None]:
    """Require that no request sent within the context fails, of a thousand at least."""
    before = clients.totals()
    yield
    settled = clients.wait_for_more(int(3 * RATE), clients.totals())
    after = max(settled, clients.wait_for_more(LEAST, before), key=lambda totals: totals.time)
    count = sum(after.sent.values()) - sum(before.sent.values())
    failures = clients.failures(before.time)
    tell.append(f"canary, {what}: {len(failures)} of {count:,} failed")
    assert failures == [], f"{clients.stolen(before.time):.0%} of ten seconds' processor time were stolen"


def test_a_canary_answers_beside_stable_and_becomes_stable(
    cluster: Cluster, namespace: str, clients: Load, tell: list[str]
) -> None:
    stable = names(of_track(cluster, namespace, "stable"))
    (first,) = answered_by(cluster, namespace)
    with nothing_is_lost(clients, tell, "on"):
        cluster.upgrade(namespace, canary={"enabled": True, "image": {"tag": f"{TAG}-next"}})
        (canary,) = of_track(cluster, namespace, "canary")
        assert is_ready(canary)
        assert names(of_track(cluster, namespace, "stable")) == stable
        wait_for(lambda: answered_by(cluster, namespace) == {first, NEXT_VERSION}, 60, "both versions answer", 1)
    with nothing_is_lost(clients, tell, "promoted"):
        cluster.upgrade(namespace, image={"tag": f"{TAG}-next"})
        wait_for(lambda: cluster.rolled_out(namespace), 300, "promoted")
        wait_for(lambda: not cluster.exists(namespace, canary.metadata.name), 90, "the canary is gone")
        wait_for(lambda: answered_by(cluster, namespace) == {NEXT_VERSION}, 60, "the canary's version alone answers", 1)
    assert len(of_track(cluster, namespace, "stable")) == 2
    cluster.upgrade(namespace)
    wait_for(lambda: cluster.rolled_out(namespace), 300, "as it was")


def test_a_broken_canary_never_answers_and_is_taken_back(
    cluster: Cluster, namespace: str, clients: Load, tell: list[str]
) -> None:
    stable = names(of_track(cluster, namespace, "stable"))
    versions = answered_by(cluster, namespace)
    with nothing_is_lost(clients, tell, "broken"):
        cluster.upgrade(namespace, wait=False, canary={"enabled": True, "image": {"tag": f"{TAG}-broken"}})
        (canary,) = wait_for(lambda: of_track(cluster, namespace, "canary"), 30, "a canary")
        name = canary.metadata.name

        def messages() -> str:
            return "\n".join(event.message or "" for event in cluster.events(namespace, name))

        wait_for(lambda: "answers wrongly" in messages(), 90, "the canary says what is wrong", 1)
        time.sleep(30)  # it is tried again, and nothing comes of it
        assert not is_ready(cluster.pod(namespace, name))
        assert answered_by(cluster, namespace) == versions
        # It does not count for the budget, so a node of stable could still be drained.
        budget = cluster.policy.read_namespaced_pod_disruption_budget("catsdogs", namespace)
        assert (budget.status.expected_pods, budget.status.disruptions_allowed) == (2, 1)
    with nothing_is_lost(clients, tell, "taken back"):
        cluster.upgrade(namespace)
        wait_for(lambda: not cluster.exists(namespace, name), 90, "the canary is gone")
    assert names(of_track(cluster, namespace, "stable")) == stable
