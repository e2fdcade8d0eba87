"""k8s/predict-job.yaml classifies the 500 photographs by three indexes, one of which is killed in the middle: each
photograph has one row, and it is the row that one process without a cluster writes.

The photographs are mounted from the nodes, which must be on the machine that runs these tests.
"""

import json
import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from serving.bulk.shard import shard_of
from serving.client.predict import predict_offline
from tests.cluster.support import IMAGE, Cluster, wait_for
from tests.cluster.volumes import make_claim, run_in
from tests.zoo import ROOT

pytestmark = pytest.mark.breadth

SHARDS = 3
KILLED = 1
# So few that the one that is killed has written some parts, and has others to write.
PART_SIZE = 10
# Waits until this index has written two parts, and stops its workers, so that it cannot finish the part in hand.
STOP_WORKERS = f"""
import os, signal, time
from pathlib import Path
while len(list(Path("/predictions/all").glob("part-{KILLED:05d}-*"))) < 2:
    time.sleep(0.05)
for stat in Path("/proc").glob("[0-9]*/stat"):
    if stat.read_text().rpartition(")")[2].split()[1] == "1" and int(stat.parent.name) != os.getpid():
        os.kill(int(stat.parent.name), signal.SIGSTOP)
print("stopped", len(list(Path("/predictions/all").glob("part-{KILLED:05d}-*"))))
"""


@pytest.fixture(scope="module")
def photos() -> Path:
    folder = Path(os.environ.get("CATSDOGS_PHOTOS", ""))
    assert (folder / "Cat").is_dir(), "Set CATSDOGS_PHOTOS to a folder of photographs that holds Cat and Dog."
    return folder.resolve()


@contextmanager
def claim_on(cluster: Cluster, namespace: str, name: str, folder: Path) -> Iterator[None]:
    """A claim on a folder of the nodes."""
    volume = f"{namespace}-{name}"
    modes = {"accessModes": ["ReadOnlyMany"], "storageClassName": ""}
    spec = {**modes, "capacity": {"storage": "1Gi"}, "hostPath": {"path": str(folder), "type": "Directory"}}
    cluster.core.create_persistent_volume({"metadata": {"name": volume}, "spec": spec})
    try:
        wanted = {**modes, "resources": {"requests": {"storage": "1Gi"}}, "volumeName": volume}
        cluster.core.create_namespaced_persistent_volume_claim(namespace, {"metadata": {"name": name}, "spec": wanted})
        yield
    finally:
        cluster.core.delete_persistent_volume(volume)


def job() -> dict[str, Any]:
    """The Job of k8s/predict-job.yaml, with smaller parts, on less of a node."""
    documents = yaml.safe_load_all((ROOT / "k8s" / "predict-job.yaml").read_text())
    (made,) = (document for document in documents if document["kind"] == "Job")
    (container,) = made["spec"]["template"]["spec"]["containers"]
    container["image"] = IMAGE
    container["command"] += [f"--part-size={PART_SIZE}", "--workers=1"]
    container["resources"] = {"requests": {"cpu": "100m", "memory": "300Mi"}, "limits": {"cpu": "1", "memory": "1Gi"}}
    assert made["spec"]["completions"] == SHARDS
    return dict(made)


def pods_of(cluster: Cluster, namespace: str, index: int) -> list[Any]:
    selector = f"batch.kubernetes.io/job-name=catsdogs-predict,batch.kubernetes.io/job-completion-index={index}"
    return list(cluster.core.list_namespaced_pod(namespace, label_selector=selector).items)


def wait_until_complete(cluster: Cluster, namespace: str) -> Any:
    def ended() -> Any:
        status = cluster.batch.read_namespaced_job_status("catsdogs-predict", namespace).status
        types = {condition.type for condition in status.conditions or []}
        assert "Failed" not in types, status
        return status if "Complete" in types else None

    return wait_for(ended, 300, "the Job is complete", 1)


def test_three_indexes_classify_each_photograph_once_though_one_is_killed(
    cluster: Cluster, namespace: str, photos: Path, archive: Path, tell: list[str]
) -> None:
    with (
        claim_on(cluster, namespace, "catsdogs-pictures", photos),
        make_claim(cluster, namespace, "catsdogs-predictions", shared=True) as store,
    ):
        cluster.batch.create_namespaced_job(namespace, job())

        def running() -> str | None:
            pods = [pod for pod in pods_of(cluster, namespace, KILLED) if pod.status.phase == "Running"]
            return pods[0].metadata.name if pods else None

        first = wait_for(running, 120, f"index {KILLED} runs")
        stopped = cluster.shell(namespace, first, "predict", STOP_WORKERS)
        assert "stopped" in stopped, stopped
        written = int(stopped.split()[-1])
        cluster.core.delete_namespaced_pod(first, namespace, grace_period_seconds=1)
        status = wait_until_complete(cluster, namespace)
        assert status.succeeded == SHARDS
        assert status.completed_indexes == "0-2"

        (second,) = pods_of(cluster, namespace, KILLED)
        assert second.metadata.name != first
        log = cluster.log(namespace, second.metadata.name, "predict")
        total = sum(shard_of(str(path.relative_to(photos)), SHARDS) == KILLED for path in photos.rglob("*.jpg"))
        assert f"Shard {KILLED}/{SHARDS}: {total} pictures, {written} parts are there." in log, log

        script = "catsdogs merge /store/all && cat /store/all/part-*.jsonl"
        output = run_in(cluster, namespace, store, IMAGE, ["sh", "-c", script])
        assert "3 of 3 shards are complete: 500 pictures; " in output
        rows = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
        cluster.batch.delete_namespaced_job("catsdogs-predict", namespace, propagation_policy="Foreground")

    paths = sorted(photos.rglob("*.jpg"))
    assert Counter(row["path"] for row in rows) == Counter(f"/pictures/{path.relative_to(photos)}" for path in paths)
    answers = {row.pop("path"): row for row in rows}
    for prediction in predict_offline(paths, archive):
        assert answers[f"/pictures/{prediction.path.relative_to(photos)}"] == prediction.answer
    tell.append(f"predict: {len(rows)} photographs by {SHARDS} indexes; {KILLED} was killed after {written} parts")
