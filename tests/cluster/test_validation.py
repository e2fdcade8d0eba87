"""A model that is ready and mostly wrong: the upgrade to it fails and is taken back, and no request is lost meanwhile.

Its pods answer clients for a while, wrongly: such answers came whole and in time, so they are counted apart from those
that failed. Once its pods are gone there must be none.
"""

from collections.abc import Iterator

import pytest

from tests.cluster.models import NEXT_VERSION
from tests.cluster.support import IMAGE, Cluster, Load, load, run_helm, wait_for
from tests.cluster.test_release import version

pytestmark = pytest.mark.breadth
TAG = IMAGE.rpartition(":")[2]
RATE = 20.0
ON = {"enabled": True}
VERDICT = "BREACH        accuracy: 0 of 16 pictures are right"


@pytest.fixture(scope="module")
def clients(cluster: Cluster, namespace: str) -> Iterator[Load]:
    cluster.install(namespace, validation=ON)
    with load(cluster, namespace, rest=["catsdogs:8080"], grpc=["catsdogs:7070"], rate=RATE) as running:
        yield running
    cluster.uninstall(namespace)


def verdict(cluster: Cluster, namespace: str) -> str:
    """Return the log of the Job that failed."""
    pods = cluster.core.list_namespaced_pod(namespace, label_selector="job-name=catsdogs-validation").items
    newest = max(pods, key=lambda pod: pod.metadata.creation_timestamp)
    return cluster.log(namespace, newest.metadata.name, "validate")


def poor_pods(cluster: Cluster, namespace: str) -> list[str]:
    """Those on their way out, too."""
    pods = cluster.core.list_namespaced_pod(namespace, label_selector="app.kubernetes.io/component=server").items
    return [pod.metadata.name for pod in pods if pod.spec.containers[0].image.endswith("-poor")]


def is_wrong_verdict(failure: dict[str, object]) -> bool:
    return " is called " in str(failure["failure"])


def test_a_good_model_passes_and_nothing_of_the_validation_is_left(
    cluster: Cluster, namespace: str, clients: Load
) -> None:
    before = clients.totals()
    cluster.upgrade(namespace, image={"tag": f"{TAG}-next"}, validation=ON)
    assert version(cluster, namespace) == {NEXT_VERSION}

    def left() -> set[str]:
        items = [
            *cluster.core.list_namespaced_service(namespace).items,
            *cluster.batch.list_namespaced_job(namespace).items,
        ]
        return {item.metadata.name for item in items}

    wait_for(lambda: left() == {"catsdogs", "catsdogs-metrics"}, 30, "its Job and its Service are gone")
    clients.wait_for_more(int(3 * RATE), clients.totals())
    assert clients.failures(before.time) == []


def test_an_atomic_upgrade_to_a_poor_one_is_rolled_back(
    cluster: Cluster, namespace: str, clients: Load, tell: list[str]
) -> None:
    (good,) = version(cluster, namespace)
    before = clients.totals()
    output = cluster.fail_to_upgrade(namespace, "--atomic", image={"tag": f"{TAG}-poor"}, validation=ON)
    assert "rolled back" in output
    assert VERDICT in verdict(cluster, namespace)
    wait_for(lambda: not poor_pods(cluster, namespace), 120, "the poor pods are gone", 1)
    wait_for(lambda: cluster.rolled_out(namespace), 120, "rolled back")
    assert version(cluster, namespace) == {good}
    gone = clients.wait_for_more(int(3 * RATE), clients.totals())
    after = clients.wait_for_more(500, gone)
    failures = clients.failures(before.time)
    lost = [failure for failure in failures if not is_wrong_verdict(failure)]
    count = sum(after.sent.values()) - sum(before.sent.values())
    wrong = len(failures) - len(lost)
    tell.append(f"validation: {len(lost)} of {count:,} failed, and {wrong:,} were called wrongly before the rollback")
    assert lost == [], f"{clients.stolen(before.time):.0%} of ten seconds' processor time were stolen"
    assert wrong, "the poor model has never answered a client"
    assert clients.failures(gone.time) == []


def test_without_waiting_for_the_rollout_the_new_pods_are_judged_and_not_the_old_ones(
    cluster: Cluster, namespace: str, clients: Load
) -> None:
    (good,) = version(cluster, namespace)
    before = clients.totals()
    output = cluster.fail_to_upgrade(namespace, image={"tag": f"{TAG}-poor"}, validation=ON)
    assert "rolled back" not in output
    assert VERDICT in verdict(cluster, namespace)
    run_helm("rollback", "catsdogs", "--namespace", namespace, "--wait", "--timeout=300s")
    wait_for(lambda: not poor_pods(cluster, namespace), 120, "the poor pods are gone", 1)
    wait_for(lambda: cluster.rolled_out(namespace), 120, "rolled back")
    assert version(cluster, namespace) == {good}
    clients.wait_for_more(int(3 * RATE), clients.totals())
    assert [failure for failure in clients.failures(before.time) if not is_wrong_verdict(failure)] == []
