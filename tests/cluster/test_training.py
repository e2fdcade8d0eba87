"""k8s/training-job.yaml, as its comment says to run it on CPUs, writes an archive that a release then serves.

Its image (5 GB) is not needed: without CATSDOGS_TRAIN_IMAGE the environment is mounted from the node, which must then
be the machine that runs this test. `make e2e-train` builds the image and runs all of it.
"""

import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster.support import IMAGE, Cluster, run_helm, wait_for
from tests.cluster.volumes import make_claim
from tests.petimages import COUNT, copy_some
from tests.zoo import ROOT

TRAIN_IMAGE = os.environ.get("CATSDOGS_TRAIN_IMAGE")
# Two short epochs: what is shown is the way, not the model.
RECIPE = ("train.epochs=2", "train.min_size=64", "train.max_size=64", "train.batch_size=32")


@pytest.fixture(scope="module")
def namespace(cluster: Cluster) -> Iterator[str]:
    """Not a restricted one: folders of the node are mounted."""
    with cluster.namespace("catsdogs-training", level="privileged") as made:
        yield made


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_some(tmp_path_factory.mktemp("pictures"))


def job(pictures: Path) -> dict[str, Any]:
    """The Job for CPUs, on fewer pictures, with less of a machine."""
    text = (ROOT / "k8s" / "training-job.yaml").read_text()
    made: dict[str, Any]
    (made,) = (one for one in yaml.safe_load_all(re.sub(r".*# GPU\n", "", text)) if one["kind"] == "Job")
    spec = made["spec"]["template"]["spec"]
    environment = Path(sys.prefix).parent / ".venv-train" / "lib" / "python3.11" / "site-packages"
    folders = {"/pictures": pictures}
    if TRAIN_IMAGE is None:
        folders |= {"/environment": environment, "/repository": ROOT}
    for number, host in enumerate(folders.values()):
        spec["volumes"].append({"name": f"host-{number}", "hostPath": {"path": str(host), "type": "Directory"}})
    for container in [*spec["initContainers"], *spec["containers"]]:
        container["image"] = TRAIN_IMAGE or IMAGE
        container["resources"] = {"requests": {"cpu": "100m", "memory": "500Mi"}, "limits": {"memory": "6Gi"}}
        container["volumeMounts"] = container["volumeMounts"] + [
            {"name": f"host-{number}", "mountPath": path, "readOnly": True} for number, path in enumerate(folders)
        ]
        container["env"] = [*container["env"], {"name": "OMP_NUM_THREADS", "value": "1"}]
        if TRAIN_IMAGE is None:
            container["env"].append({"name": "PYTHONPATH", "value": "/environment:/repository"})
        command = container["command"]
        if container["name"] == "prepare":
            container["command"] = [*command[:2], "/pictures", "--out=/data/manifest"]
        if container["name"] == "train":
            command += [word for one in RECIPE for word in ("--set", one)]
    return made


def test_a_job_trains_and_a_release_serves_what_it_wrote(
    cluster: Cluster, namespace: str, pictures: Path, tell: list[str]
) -> None:
    with make_claim(cluster, namespace, "catsdogs-data"), make_claim(cluster, namespace, "catsdogs-store"):
        cluster.batch.create_namespaced_job(namespace, job(pictures))

        def ended() -> str | None:
            status = cluster.batch.read_namespaced_job_status("catsdogs-training", namespace).status
            return next((one.type for one in status.conditions or [] if one.type in ("Complete", "Failed")), None)

        found = wait_for(ended, 420, "the Job ends", 1)
        (pod,) = cluster.core.list_namespaced_pod(namespace, label_selector="job-name=catsdogs-training").items
        said = cluster.log(namespace, pod.metadata.name, "package-cpu") if found == "Complete" else describe(pod)
        assert found == "Complete", said
        (sha256,) = re.findall(r"\b[0-9a-f]{64}\b", said.splitlines()[-1])

        model = {"source": "pvc", "sha256": sha256, "pvc": {"claimName": "catsdogs-store", "path": "catsdogs-cpu.mar"}}
        cluster.install(namespace, replicas=1, model=model)
        (server,) = cluster.ready(namespace)
        script = (
            "import urllib.request as u; print(u.urlopen(u.Request('http://127.0.0.1:8080/predictions',"
            "open('/app/docs/samples/cat/4055.jpg', 'rb').read())).read().decode())"
        )
        answer = cluster.shell(namespace, server.metadata.name, "gateway", script)
        assert '"version":"1.0.0"' in answer.replace(" ", "")
        tell.append(f"training Job: {2 * COUNT} pictures to an archive, which a release of the same volume serves")
        run_helm("uninstall", "catsdogs", "--namespace", namespace, "--wait")
        cluster.batch.delete_namespaced_job("catsdogs-training", namespace, propagation_policy="Foreground")
        wait_for(lambda: not cluster.core.list_namespaced_pod(namespace).items, 60, "all pods are gone")


def describe(pod: Any) -> str:
    states = [*(pod.status.init_container_statuses or []), *(pod.status.container_statuses or [])]
    return "\n".join(f"{one.name}: {one.state}" for one in states)
