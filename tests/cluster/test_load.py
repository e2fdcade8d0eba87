"""The load test as a Job and by `helm test`: its verdict is how it ends, and its summary is in the log."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from kubernetes.client import V1JobCondition, V1Pod

from tests.cluster.support import Cluster, run_helm, try_helm, wait_for

pytestmark = pytest.mark.breadth

BEGIN, END = "-----BEGIN CATSDOGS SUMMARY-----\n", "-----END CATSDOGS SUMMARY-----\n"
TEST = ("test", "catsdogs", "--filter", "name=catsdogs-load", "--timeout=300s")
BREACH = 10


def load_test(threshold: str, pods: int = 1, **values: Any) -> dict[str, Any]:
    """Values: 20 s of a hundred requests, nine of ten of them to be answered within the threshold."""
    gate = {"shape": "steady", "protocols": ["rest"], "rate": 5, "duration": "20s", "warmup": "2s"}
    slo = {
        "service": "catsdogs",
        "objectives": {
            "latency": {"rest": {"threshold": threshold, "objective": 0.9}},
            "availability": {"objective": 0.9},
            "accuracy": {"objective": 0.5},
        },
        "gates": {"brief": {**gate, "confidence": 0.9, "asserts": "sample"}},
        "capacity": {
            **{"start_rate": 5, "highest_rate": 50, "precision": 0.1, "trial": "10s", "warmup": "2s"},
            **{"confirm_runs": 2, "confirm": "20s", "step_down": 0.05, "confidence": 0.9},
        },
    }
    given = {"enabled": True, "gate": "brief", "slo": slo, "waitSeconds": 60, "activeDeadlineSeconds": 240}
    return {**given, "pods": pods, **values}


# Thresholds that any machine keeps, and that none does: a picture takes longer than that to decode.
KEPT, NOT_KEPT = "10s", "5ms"


@pytest.fixture(scope="module")
def release(cluster: Cluster, namespace: str) -> Iterator[None]:
    """One server, to leave processors to who asks."""
    cluster.install(namespace, replicas=1)
    yield
    cluster.uninstall(namespace)


def newest(cluster: Cluster, namespace: str) -> str:
    """Name of the Job that was made last."""
    jobs = cluster.batch.list_namespaced_job(namespace).items
    return str(max(jobs, key=lambda job: job.metadata.creation_timestamp).metadata.name)


def end(cluster: Cluster, namespace: str, job: str) -> V1JobCondition:
    """Wait until a Job has ended, and return the condition that says how."""

    def ended() -> V1JobCondition | None:
        conditions = cluster.batch.read_namespaced_job(job, namespace).status.conditions or []
        ends = (
            condition
            for condition in conditions
            if condition.type in ("Complete", "Failed") and condition.status == "True"
        )
        return next(ends, None)

    return wait_for(ended, 300, f"{job} has ended", 1)


def judge(cluster: Cluster, namespace: str, job: str, pods: int) -> V1Pod:
    """The pod that has the verdict."""
    # Not by its name, which `helm test` gives to one after the other.
    uid = cluster.batch.read_namespaced_job(job, namespace).metadata.uid
    first = ",batch.kubernetes.io/job-completion-index=0" if pods > 1 else ""
    selector = f"batch.kubernetes.io/controller-uid={uid}{first}"
    (pod,) = cluster.core.list_namespaced_pod(namespace, label_selector=selector).items
    return pod


def exit_code(pod: V1Pod) -> int:
    return int(pod.status.container_statuses[0].state.terminated.exit_code)


def summary(cluster: Cluster, namespace: str, pod: V1Pod) -> dict[str, Any]:
    log = cluster.log(namespace, pod.metadata.name, "load")
    text, ending, _ = log.partition(BEGIN)[2].partition(END)
    assert ending, log[-2000:]
    return dict(json.loads(text))


def answered(report: dict[str, Any]) -> int:
    return sum(row["answered"] for row in report["rows"] if row["stage"] == "all")


@pytest.mark.parametrize("pods", [1, 2])
def test_where_the_objectives_are_kept_the_job_is_complete(
    cluster: Cluster, namespace: str, release: None, pods: int, tell: list[str]
) -> None:
    cluster.upgrade(namespace, wait=False, replicas=1, loadtest=load_test(KEPT, pods))
    job = newest(cluster, namespace)
    how = end(cluster, namespace, job)
    pod = judge(cluster, namespace, job, pods)
    assert (how.type, exit_code(pod)) == ("Complete", 0), how.message
    report = summary(cluster, namespace, pod)
    assert (report["verdict"], report["exit_code"], report["plan"]["gate"]) == ("PASS", 0, "brief")
    # Of two pods the first one sends nothing itself.
    assert answered(report) > 50
    tell.append(f"load test of {pods}: {answered(report)} answered, {report['verdict']}")


@pytest.mark.parametrize("pods", [1, 2])
def test_where_they_are_not_kept_the_job_fails_and_says_with_which_status(
    cluster: Cluster, namespace: str, release: None, pods: int
) -> None:
    cluster.upgrade(namespace, wait=False, replicas=1, loadtest=load_test(NOT_KEPT, pods))
    job = newest(cluster, namespace)
    how = end(cluster, namespace, job)
    pod = judge(cluster, namespace, job, pods)
    report = summary(cluster, namespace, pod)
    assert (exit_code(pod), report["verdict"]) == (BREACH, "BREACH"), report["reasons"]
    assert (how.type, how.reason) == ("Failed", "PodFailurePolicy")
    assert f"exit code {BREACH}" in how.message


def test_an_upgrade_without_it_leaves_no_job(cluster: Cluster, namespace: str, release: None) -> None:
    cluster.upgrade(namespace, wait=False, replicas=1)
    wait_for(lambda: not cluster.batch.list_namespaced_job(namespace).items, 60, "the Jobs are gone")


@pytest.mark.parametrize("pods", [1, 2])
def test_helm_test_passes_and_fails_as_it_does(cluster: Cluster, namespace: str, release: None, pods: int) -> None:
    cluster.upgrade(namespace, wait=False, replicas=1, loadtest=load_test(KEPT, pods, hook=True))
    assert not [job for job in cluster.batch.list_namespaced_job(namespace).items if job.status.active]
    run_helm(*TEST, "--namespace", namespace)
    assert summary(cluster, namespace, judge(cluster, namespace, "catsdogs-load", pods))["verdict"] == "PASS"

    cluster.upgrade(namespace, wait=False, replicas=1, loadtest=load_test(NOT_KEPT, pods, hook=True))
    done = try_helm(*TEST, "--namespace", namespace)
    assert done.returncode != 0, done.stdout
    assert exit_code(judge(cluster, namespace, "catsdogs-load", pods)) == BREACH
