"""k8s/training-job.yaml, as its comment says to run it on CPUs, writes an archive that a release then serves; so does
the Job that k8s/retrain-cronjob.yaml starts by itself; and k8s/training-nodes.yaml trains one model on two nodes.

Their image (5 GB) is not needed: without CATSDOGS_TRAIN_IMAGE the environment is mounted from the nodes, which must
then be on the machine that runs these tests. `make e2e-train` builds the image and runs all of the first.
"""

import os
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster.support import IMAGE, Cluster, run_helm, wait_for
from tests.cluster.volumes import make_claim, run_in
from tests.petimages import COUNT, copy_some
from tests.zoo import ROOT

TRAIN_IMAGE = os.environ.get("CATSDOGS_TRAIN_IMAGE")
# Two short epochs: what is shown is the way, not the model. At the usual rate so few steps may diverge.
RECIPE = (
    "model.weights=null",
    "train.epochs=2",
    "train.min_size=64",
    "train.max_size=64",
    "train.batch_size=32",
    "train.learning_rate=0.01",
)
# Six containers load torch, one after the other: three minutes on two cores with other users, seven with many of them.
# A Job that fails is known at once.
JOB_S = 900


@pytest.fixture(scope="module")
def namespace(cluster: Cluster) -> Iterator[str]:
    """Not a restricted one: folders of the node are mounted."""
    with cluster.namespace("catsdogs-training", level="privileged") as made:
        yield made


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_some(tmp_path_factory.mktemp("pictures"))


def manifests(name: str) -> list[dict[str, Any]]:
    """Those of a file in k8s, for CPUs, as its comment says."""
    return list(yaml.safe_load_all(re.sub(r".*# GPU\n", "", (ROOT / "k8s" / name).read_text())))


def of_kind(kind: str, documents: list[dict[str, Any]]) -> dict[str, Any]:
    (made,) = (document for document in documents if document["kind"] == kind)
    return made


def make_small(pod: dict[str, Any], pictures: Path, at: str = "/pictures") -> None:
    """Fewer pictures, mounted there, less of a machine, and a short recipe."""
    environment = Path(sys.prefix).parent / ".venv-train" / "lib" / "python3.11" / "site-packages"
    folders = {at: pictures}
    if TRAIN_IMAGE is None:
        folders |= {"/environment": environment, "/repository": ROOT}
    for number, host in enumerate(folders.values()):
        pod["volumes"].append({"name": f"host-{number}", "hostPath": {"path": str(host), "type": "Directory"}})
    for container in [*pod["initContainers"], *pod["containers"]]:
        container["image"] = TRAIN_IMAGE or IMAGE
        container["resources"] = {"requests": {"cpu": "100m", "memory": "500Mi"}, "limits": {"memory": "6Gi"}}
        container["volumeMounts"] = container["volumeMounts"] + [
            {"name": f"host-{number}", "mountPath": path, "readOnly": True} for number, path in enumerate(folders)
        ]
        container["env"] = [*container["env"], {"name": "OMP_NUM_THREADS", "value": "1"}]
        if TRAIN_IMAGE is None:
            container["env"].append({"name": "PYTHONPATH", "value": "/environment:/repository"})
        if container["name"] == "train":
            container["command"] += [word for setting in RECIPE for word in ("--set", setting)]
        if container["name"] == "export":
            container["command"] += ["--allow-poor"]


def job(pictures: Path) -> dict[str, Any]:
    made = of_kind("Job", manifests("training-job.yaml"))
    pod = made["spec"]["template"]["spec"]
    make_small(pod, pictures)
    prepare = next(container for container in pod["initContainers"] if container["name"] == "prepare")
    prepare["command"] = [*prepare["command"][:2], "/pictures", "--out=/data/manifest"]
    return made


def finish(cluster: Cluster, namespace: str, name: str) -> list[Any]:
    """Waits until a Job is complete, and returns its pods."""

    def ended() -> str | None:
        status = cluster.batch.read_namespaced_job_status(name, namespace).status
        return next(
            (condition.type for condition in status.conditions or [] if condition.type in ("Complete", "Failed")), None
        )

    outcome = wait_for(ended, JOB_S, f"the Job {name} ends", 1)
    pods = cluster.core.list_namespaced_pod(namespace, label_selector=f"job-name={name}").items
    assert outcome == "Complete", "\n".join(describe(pod) for pod in pods)
    return list(pods)


def remove(cluster: Cluster, namespace: str, name: str) -> None:
    cluster.batch.delete_namespaced_job(name, namespace, propagation_policy="Foreground")
    wait_for(lambda: not cluster.core.list_namespaced_pod(namespace).items, 60, "all pods are gone")


def test_a_job_trains_and_a_release_serves_what_it_wrote(
    cluster: Cluster, namespace: str, pictures: Path, tell: list[str]
) -> None:
    with make_claim(cluster, namespace, "catsdogs-data"), make_claim(cluster, namespace, "catsdogs-store"):
        cluster.batch.create_namespaced_job(namespace, job(pictures))

        (pod,) = finish(cluster, namespace, "catsdogs-training")
        log = cluster.log(namespace, pod.metadata.name, "package-cpu")
        (sha256,) = re.findall(r"\b[0-9a-f]{64}\b", log.splitlines()[-1])

        model = {"source": "pvc", "sha256": sha256, "pvc": {"claimName": "catsdogs-store", "path": "catsdogs-cpu.mar"}}
        cluster.install(namespace, replicas=1, model=model)
        (server,) = cluster.ready(namespace)
        script = (
            "import urllib.request as u; from serving.client.samples import SAMPLES;"
            "print(u.urlopen(u.Request('http://127.0.0.1:8080/predictions',"
            "(SAMPLES / 'cat' / '4055.jpg').read_bytes())).read().decode())"
        )
        answer = cluster.shell(namespace, server.metadata.name, "gateway", script)
        assert '"version":"1.0.0"' in answer.replace(" ", "")
        tell.append(f"training Job: {2 * COUNT} pictures to an archive, which a release of the same volume serves")
        run_helm("uninstall", "catsdogs", "--namespace", namespace, "--wait")
        remove(cluster, namespace, "catsdogs-training")


@pytest.mark.breadth
def test_a_cron_job_trains_by_itself_on_the_pictures_of_the_volume(
    cluster: Cluster, namespace: str, pictures: Path, tell: list[str]
) -> None:
    made = of_kind("CronJob", manifests("retrain-cronjob.yaml"))
    made["spec"]["schedule"] = "* * * * *"
    make_small(made["spec"]["jobTemplate"]["spec"]["template"]["spec"], pictures, at="/data/pictures")

    def of_it() -> list[str]:
        jobs = cluster.batch.list_namespaced_job(namespace).items
        return [owned.metadata.name for owned in jobs if owned.metadata.owner_references]

    with make_claim(cluster, namespace, "catsdogs-data"), make_claim(cluster, namespace, "catsdogs-store") as store:
        cluster.batch.create_namespaced_cron_job(namespace, made)
        name = wait_for(of_it, 90, "its minute comes", 1)[0]
        # The next minute comes while this one trains, which forbids another.
        time.sleep(65)
        assert of_it() == [name]
        cluster.batch.patch_namespaced_cron_job("catsdogs-retraining", namespace, {"spec": {"suspend": True}})
        (pod,) = finish(cluster, namespace, name)
        assert "sha256" in cluster.log(namespace, pod.metadata.name, "package-cpu")
        cluster.batch.delete_namespaced_cron_job("catsdogs-retraining", namespace, propagation_policy="Foreground")
        wait_for(lambda: not cluster.core.list_namespaced_pod(namespace).items, 60, "all pods are gone")
        listed = run_in(cluster, namespace, store, IMAGE, ["ls", "/store", "/store/runs"]).split()
        assert {name, f"{name}-cpu.mar", f"{name}-gpu.mar"} <= set(listed), listed
        assert listed.count(name) == 2  # its release and its run
        tell.append(f"retraining CronJob: its controller started {name}, which left a run, a release and two archives")


@pytest.mark.breadth
def test_two_nodes_train_one_model(cluster: Cluster, namespace: str, pictures: Path, tell: list[str]) -> None:
    documents = manifests("training-nodes.yaml")
    made = of_kind("Job", documents)
    pod = made["spec"]["template"]["spec"]
    make_small(pod, pictures)
    # Each mounts all of the volume, which a test cluster has as a folder of the machine that both nodes are on.
    prepare = next(container for container in pod["initContainers"] if container["name"] == "prepare")
    prepare["command"][-1] = prepare["command"][-1].replace(
        "microsoft-cats-vs-dogs --download-to=/data/downloads", "/pictures"
    )
    train = next(container for container in pod["containers"] if container["name"] == "train")
    if TRAIN_IMAGE is None:
        train["command"][:1] = ["python", "-m", "torch.distributed.run"]
    # Here they must not meet on one node.
    pod["topologySpreadConstraints"][0]["whenUnsatisfiable"] = "DoNotSchedule"
    name = made["metadata"]["name"]
    with (
        make_claim(cluster, namespace, "catsdogs-data", shared=True),
        make_claim(cluster, namespace, "catsdogs-store", shared=True) as store,
    ):
        cluster.core.create_namespaced_service(namespace, of_kind("Service", documents))
        cluster.batch.create_namespaced_job(namespace, made)
        pods = finish(cluster, namespace, name)
        nodes = {worker.spec.node_name for worker in pods}
        assert len(pods) == len(nodes) == 2
        # One speaks for both.
        logs = [cluster.log(namespace, worker.metadata.name, "train") for worker in pods]
        assert sorted(bool(re.search(r"epoch +2/2", log)) for log in logs) == [False, True], logs
        listed = run_in(cluster, namespace, store, IMAGE, ["ls", "/store/runs/catsdogs"]).split()
        assert "best.pt" in listed, listed
        tell.append(f"training on {len(nodes)} nodes by torchrun: {2 * COUNT} pictures to one checkpoint")
        remove(cluster, namespace, name)
        cluster.core.delete_namespaced_service(name, namespace)


def describe(pod: Any) -> str:
    states = [*(pod.status.init_container_statuses or []), *(pod.status.container_statuses or [])]
    return "\n".join(f"{status.name}: {status.state}" for status in states)
