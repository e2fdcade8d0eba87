"""A canary that is watched: a good one passes and becomes stable, a bad one fails its upgrade and is taken back."""

from typing import Any

import pytest

from tests.cluster.models import NEXT_VERSION
from tests.cluster.support import IMAGE, Cluster, wait_for
from tests.cluster.test_release import version

pytestmark = pytest.mark.breadth
TAG = IMAGE.rpartition(":")[2]
WATCH = {"enabled": True, "seconds": 30, "intervalSeconds": 10, "arguments": ["--min-requests=48"]}
# Nodes of a test cluster may share two cores, of which others take a part.
SLO = {
    "service": "catsdogs",
    "objectives": {
        "latency": {"rest": {"threshold": "10s", "objective": 0.95}},
        "availability": {"objective": 0.999},
        "accuracy": {"objective": 0.85},
    },
}


def watched(image: str) -> dict[str, Any]:
    """Return values with a canary of this image, which is watched."""
    canary = {"enabled": True, "image": {"tag": f"{TAG}-{image}"}, "watch": WATCH}
    return {"replicas": 1, "canary": canary, "loadtest": {"slo": SLO}}


def log(cluster: Cluster, namespace: str) -> str:
    """Return the log of the watch that failed."""
    pods = cluster.core.list_namespaced_pod(namespace, label_selector="job-name=catsdogs-watch").items
    newest = max(pods, key=lambda pod: pod.metadata.creation_timestamp)
    return cluster.log(namespace, newest.metadata.name, "canary")


def tracks(cluster: Cluster, namespace: str) -> set[str]:
    return {pod.metadata.labels["track"] for pod in cluster.pods(namespace)}


def test_a_good_candidate_passes_its_watch_and_is_promoted(cluster: Cluster, namespace: str) -> None:
    cluster.install(namespace, replicas=1)
    cluster.upgrade(namespace, **watched("next"))
    assert tracks(cluster, namespace) == {"stable", "canary"}
    cluster.upgrade(namespace, replicas=1, image={"tag": f"{TAG}-next"})
    wait_for(lambda: tracks(cluster, namespace) == {"stable"}, 90, "the canary is gone")
    assert version(cluster, namespace) == {NEXT_VERSION}


def test_a_bad_candidate_fails_its_upgrade_and_is_taken_back(cluster: Cluster, namespace: str) -> None:
    output = cluster.fail_to_upgrade(namespace, "--atomic", image={"tag": f"{TAG}-next"}, **watched("poor"))
    assert "rolled back" in output
    lines = log(cluster, namespace).splitlines()
    assert lines[-1] == "BREACH"
    assert any(line.startswith("BREACH") and "0 of 16 pictures are right" in line for line in lines)
    assert any(line.startswith("BREACH") and "16 of 16 pictures are right by stable alone" in line for line in lines)
    wait_for(lambda: tracks(cluster, namespace) == {"stable"}, 120, "the canary is gone")
    wait_for(lambda: cluster.rolled_out(namespace), 120, "as it was")
    assert version(cluster, namespace) == {NEXT_VERSION}
