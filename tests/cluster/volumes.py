"""Volumes for tests: the cluster's own where it has a StorageClass, a folder of a node where it has none."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.cluster.support import Cluster, wait_for

RESTRICTED = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}
POD = {
    "restartPolicy": "Never",
    "automountServiceAccountToken": False,
    "terminationGracePeriodSeconds": 1,
}


@contextmanager
def make_claim(
    cluster: Cluster, namespace: str, name: str, image: str | None = None, shared: bool = False
) -> Iterator[str]:
    """A claim on an empty volume that the image's user may write to.

    Args:
        shared: by several nodes at once. Without a StorageClass, those must be on one machine.
    """
    from kubernetes.client import StorageV1Api

    from tests.cluster.support import IMAGE

    modes = ["ReadWriteMany" if shared else "ReadWriteOnce"]
    spec: dict[str, Any] = {"accessModes": modes, "resources": {"requests": {"storage": "1Gi"}}}
    classes = StorageV1Api().list_storage_class().items
    default = "storageclass.kubernetes.io/is-default-class"
    if any((storage_class.metadata.annotations or {}).get(default) == "true" for storage_class in classes):
        cluster.core.create_namespaced_persistent_volume_claim(namespace, {"metadata": {"name": name}, "spec": spec})
        yield name
        cluster.core.delete_namespaced_persistent_volume_claim(name, namespace)
        return
    volume, node = f"catsdogs-{uuid.uuid4().hex[:8]}", cluster.nodes()[0]
    path = f"/var/tmp/{volume}"
    host = {"name": "host", "hostPath": {"path": "/var/tmp", "type": "Directory"}}
    mounted = [{"name": "host", "mountPath": "/host"}]

    def as_root(script: str) -> None:
        """hostPath volumes are made as root, and fsGroup does not reach them."""
        container: dict[str, Any] = {
            "name": "root",
            "image": image or IMAGE,
            "command": ["sh", "-c", script],
            "volumeMounts": mounted,
        }
        container["securityContext"] = {"runAsUser": 0}
        run_pod(cluster, "default", {**POD, "nodeName": node, "containers": [container], "volumes": [host]})

    as_root(f"mkdir -m 0777 /host/{volume}")
    terms = [{"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": [node]}]}]
    cluster.core.create_persistent_volume(
        {
            "metadata": {"name": volume},
            "spec": {
                "accessModes": spec["accessModes"],
                "capacity": {"storage": "1Gi"},
                "storageClassName": "",
                "persistentVolumeReclaimPolicy": "Retain",
                "hostPath": {"path": path},
                **({} if shared else {"nodeAffinity": {"required": {"nodeSelectorTerms": terms}}}),
            },
        }
    )
    cluster.core.create_namespaced_persistent_volume_claim(
        namespace,
        {"metadata": {"name": name}, "spec": {**spec, "storageClassName": "", "volumeName": volume}},
    )
    try:
        yield name
    finally:
        cluster.core.delete_namespaced_persistent_volume_claim(name, namespace)
        cluster.core.delete_persistent_volume(volume)
        as_root(f"rm -r /host/{volume}")


def run_in(cluster: Cluster, namespace: str, claim: str, image: str, command: list[str]) -> str:
    """Run a command in a pod with the volume at /store, and return its output."""
    container = {
        "name": "main",
        "image": image,
        "command": command,
        "securityContext": RESTRICTED,
        "volumeMounts": [{"name": "store", "mountPath": "/store"}],
    }
    user = {"runAsNonRoot": True, "runAsUser": 10001, "fsGroup": 10001, "seccompProfile": {"type": "RuntimeDefault"}}
    volume = {"name": "store", "persistentVolumeClaim": {"claimName": claim}}
    return run_pod(cluster, namespace, {**POD, "securityContext": user, "containers": [container], "volumes": [volume]})


def run_pod(cluster: Cluster, namespace: str, spec: dict[str, Any]) -> str:
    """Runs a pod of one container to its end, and returns what it said."""
    name = f"run-{uuid.uuid4().hex[:8]}"
    cluster.core.create_namespaced_pod(namespace, {"metadata": {"name": name}, "spec": spec})
    try:
        wait_for(lambda: cluster.pod(namespace, name).status.phase in ("Succeeded", "Failed"), 120, f"{name} ends")
        log = cluster.log(namespace, name, spec["containers"][0]["name"])
        assert cluster.pod(namespace, name).status.phase == "Succeeded", log
        return log
    finally:
        cluster.core.delete_namespaced_pod(name, namespace, grace_period_seconds=1)
