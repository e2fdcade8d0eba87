"""A release from its install to its end, in a namespace that admits only restricted pods."""

import json

import pytest
from kubernetes import client, dynamic

from tests.cluster.models import NEXT_VERSION
from tests.cluster.support import IMAGE, Cluster, run_helm, wait_for

TAG = IMAGE.rpartition(":")[2]
# Tries every port of a pod from another one, 200 at once: open ones, in a line of JSON.
SCAN = """
import json, socket, sys
from concurrent.futures import ThreadPoolExecutor
def is_open(port):
    with socket.socket() as probe:
        probe.settimeout(2)
        return probe.connect_ex(("{address}", port)) == 0
with ThreadPoolExecutor(200) as pool:
    ports = range(1, 65536)
    print(json.dumps([port for port, found in zip(ports, pool.map(is_open, ports)) if found]))
"""


def held(namespace: str) -> set[str]:
    """Everything in a namespace but what Kubernetes itself puts there, and its news."""
    names = set()
    with client.ApiClient() as api:
        for resource in dynamic.DynamicClient(api).resources.search(namespaced=True):
            if isinstance(resource, dynamic.resource.ResourceList) or "list" not in resource.verbs:
                continue
            if resource.kind in ("Event", "PodMetrics"):
                continue
            for item in resource.get(namespace=namespace).items:
                names.add(f"{resource.kind}/{item.metadata.name}")
    return names


def version(cluster: Cluster, namespace: str) -> set[str]:
    """Return the versions of the model that the ready pods report."""
    answers = set()
    for pod in cluster.ready(namespace):
        proxied = cluster.core.connect_get_namespaced_pod_proxy_with_path(
            f"{pod.metadata.name}:8080", namespace, "v2/models/catsdogs", _preload_content=False
        )
        answers.update(json.loads(proxied.data)["versions"])
    return answers


@pytest.fixture(scope="module")
def before(namespace: str) -> set[str]:
    return held(namespace)


@pytest.fixture(scope="module")
def notes(cluster: Cluster, namespace: str, before: set[str]) -> str:
    return cluster.install(namespace)


def test_it_is_installed(cluster: Cluster, namespace: str, notes: str) -> None:
    pods = cluster.ready(namespace)
    assert len(pods) == 2
    assert len({pod.spec.node_name for pod in pods}) == min(2, len(cluster.nodes())), "not spread over nodes"
    assert f"helm --namespace {namespace} test catsdogs" in notes


def test_helm_test_asks_for_a_cat_and_a_dog_by_every_protocol(cluster: Cluster, namespace: str, notes: str) -> None:
    output = run_helm("test", "catsdogs", "--namespace", namespace, "--logs", "--timeout=120s")
    for way in ("REST", "KServe v1", "KServe v2", "gRPC"):
        for truth in ("cat", "dog"):
            assert f"is a {truth} by {way}" in output
    assert "its metrics" in output
    assert "FAIL" not in output


def test_no_other_port_answers_another_pod(cluster: Cluster, namespace: str, notes: str) -> None:
    scanned, scanner = cluster.ready(namespace)
    output = cluster.shell(namespace, scanner.metadata.name, "gateway", SCAN.format(address=scanned.status.pod_ip))
    assert json.loads(output) == [7070, 8080, 8082]


def test_nothing_runs_as_root_or_can_write_its_root(cluster: Cluster, namespace: str, notes: str) -> None:
    script = """
import os, pathlib
print(os.getuid(), os.getgid(), [line.split()[1] for line in open("/proc/self/status") if line.startswith("CapEff")])
for folder in ("/", "/app", "/opt/venv", "/models", "/tmp", "/var/tmp", "/home"):
    try:
        (pathlib.Path(folder) / "x").write_bytes(b"")
        print("written:", folder)
    except OSError:
        pass
"""
    pod = cluster.ready(namespace)[0]
    for container, user in (("gateway", 10002), ("torchserve", 10001)):
        assert cluster.shell(namespace, pod.metadata.name, container, script).split("\n")[:-1] == [
            f"{user} 10001 ['0000000000000000']"
        ]


def test_another_model_by_upgrade_and_back_by_rollback(cluster: Cluster, namespace: str, notes: str) -> None:
    (first,) = version(cluster, namespace)
    cluster.upgrade(namespace, image={"tag": f"{TAG}-next"})
    assert version(cluster, namespace) == {NEXT_VERSION}
    run_helm("rollback", "catsdogs", "--namespace", namespace, "--wait", "--timeout=300s")
    wait_for(lambda: cluster.rolled_out(namespace), 60, "rolled back")
    assert version(cluster, namespace) == {first}


def test_an_upgrade_that_changes_nothing_restarts_nothing(cluster: Cluster, namespace: str, notes: str) -> None:
    names = {pod.metadata.name for pod in cluster.pods(namespace)}
    cluster.upgrade(namespace)
    assert {pod.metadata.name for pod in cluster.pods(namespace)} == names


def test_uninstall_leaves_nothing(cluster: Cluster, namespace: str, before: set[str], notes: str) -> None:
    cluster.uninstall(namespace)
    wait_for(lambda: held(namespace) == before, 90, "all is gone", 1)
