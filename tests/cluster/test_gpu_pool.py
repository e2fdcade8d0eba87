"""Tests of a GPU release: the nodes that its pods are scheduled on, and rollouts on a pool without a spare GPU.

No GPU is needed: a node is given one by name only, and the pods run the CPU's image. What only a GPU can show is a
list in k8s/README.md. The larger pool is simulated by KWOK, whose nodes run nothing.
"""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from kubernetes.client import V1Node, V1Pod

from tests.cluster.support import GPU, SIMULATED, Cluster, is_ready, wait_for

# A GPU release by the values of the CPU's: what is CPU's is the image and the runtime.
ON_GPU: dict[str, Any] = {"gpu": {"enabled": True}, "runtime": "mnn"}
MIG = "nvidia.com/mig-1g.10gb"


@pytest.fixture
def gpu_node(cluster: Cluster) -> Iterator[str]:
    """A real node that has one GPU, by name only, and the taint of such nodes."""
    name = cluster.nodes()[-1]
    offer(cluster, name, {GPU: "1", MIG: "1"})
    cluster.core.patch_node(name, {"spec": {"taints": [{"key": GPU, "value": "present", "effect": "NoSchedule"}]}})
    yield name
    cluster.core.patch_node(name, {"spec": {"taints": None}})
    offer(cluster, name, {GPU: None, MIG: None})


def offer(cluster: Cluster, node: str, resources: dict[str, str | None]) -> None:
    """Extended resources of a node, as Kubernetes' documentation has them be advertised."""
    cluster.core.patch_node_status(node, {"status": {"capacity": resources, "allocatable": resources}})
    wanted = {name: count for name, count in resources.items() if count is not None}

    def seen() -> bool:
        allocatable = cluster.core.read_node(node).status.allocatable
        return all(allocatable.get(name) == count for name, count in wanted.items())

    wait_for(seen, 30, f"{node} offers {wanted}")


def why_pending(cluster: Cluster, namespace: str, pod: V1Pod) -> str:
    return " ".join(event.message for event in cluster.events(namespace, pod.metadata.name) if event.message)


@pytest.fixture
def release(cluster: Cluster, namespace: str) -> Iterator[None]:
    yield
    cluster.uninstall(namespace)


@pytest.mark.usefixtures("release")
def test_on_a_full_pool_a_rollout_ends_and_one_that_surges_hangs(
    cluster: Cluster, namespace: str, gpu_node: str
) -> None:
    cluster.install(namespace, replicas=1, **ON_GPU)
    (first,) = cluster.ready(namespace)
    assert first.spec.node_name == gpu_node
    cluster.restart(namespace)
    wait_for(lambda: cluster.rolled_out(namespace), 120, "it is rolled out without a spare GPU")
    (second,) = cluster.ready(namespace)
    assert second.metadata.name != first.metadata.name

    surge = {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
    cluster.upgrade(namespace, replicas=1, strategy=surge, **ON_GPU)
    cluster.restart(namespace)
    (third,) = wait_for(lambda: [pod for pod in cluster.pods(namespace) if not pod.spec.node_name], 30, "a pod waits")
    wait_for(lambda: f"Insufficient {GPU}" in why_pending(cluster, namespace, third), 30, "it waits for a GPU")
    assert [pod.metadata.name for pod in cluster.ready(namespace)] == [second.metadata.name]


@pytest.mark.usefixtures("release")
def test_a_slice_of_a_gpu_by_its_name(cluster: Cluster, namespace: str, gpu_node: str) -> None:
    values: dict[str, Any] = {**ON_GPU, "gpu": {"enabled": True, "resourceName": MIG}}
    cluster.install(namespace, replicas=1, **values)
    (pod,) = cluster.ready(namespace)
    assert pod.spec.node_name == gpu_node
    assert pod.spec.init_containers[0].resources.limits[MIG] == "1"


@pytest.mark.usefixtures("release")
def test_a_pool_is_filled_evenly_and_what_is_over_waits(cluster: Cluster, namespace: str, pool: list[str]) -> None:
    """Three simulated nodes of two GPUs each."""
    tolerations = [{"key": SIMULATED, "operator": "Exists"}]
    values: dict[str, Any] = {**ON_GPU, "tolerations": tolerations, "nodeSelector": {"type": "kwok"}}
    values["torchserve"] = values["gateway"] = {"resources": {"requests": {"cpu": "1"}, "limits": {"cpu": "1"}}}

    def placed() -> Counter[str]:
        return Counter(pod.spec.node_name for pod in cluster.pods(namespace) if pod.spec.node_name)

    # Where they are, not whether they are ready: simulated nodes only pretend to be, and at first not even that.
    cluster.install(namespace, wait=False, replicas=3, **values)
    wait_for(lambda: placed() == dict.fromkeys(pool, 1), 120, "one on each node")
    cluster.upgrade(namespace, wait=False, replicas=7, **values)
    wait_for(lambda: placed() == dict.fromkeys(pool, 2), 120, "two on each node")
    (over,) = wait_for(lambda: [pod for pod in cluster.pods(namespace) if not pod.spec.node_name], 30, "one is over")
    wait_for(lambda: f"Insufficient {GPU}" in why_pending(cluster, namespace, over), 30, "it waits for a GPU")
    assert not is_ready(over)


@pytest.fixture(scope="module")
def pool(cluster: Cluster) -> list[str]:
    def nodes() -> list[V1Node]:
        return list(cluster.core.list_node(label_selector="type=kwok").items)

    names = [node.metadata.name for node in nodes()]
    assert len(names) == 3, "Three nodes of KWOK are needed, with two GPUs each and the label type=kwok."
    wait_for(lambda: all(is_ready(node) for node in nodes()), 120, "the simulated nodes are ready", 1)
    return names
