"""The CronJob on drift: it passes while few pictures came, and fails after dark ones. Records stay on a claim."""

import json
from collections.abc import Iterator

import pytest
from kubernetes.client import V1Job

from tests.cluster.support import Cluster, wait_for
from tests.cluster.volumes import make_claim

pytestmark = pytest.mark.breadth
# Each worker measures a hundred pictures at once, and five a second after that.
DARK = 300
# Runs in a pod: it sends so many dark pictures to the Service, a connection each, so that all pods get some.
SEND = f"""
import io
import urllib.request
from PIL import Image, ImageEnhance
from serving.client.samples import SAMPLES

samples = [path.read_bytes() for path in sorted(SAMPLES.glob("*/*.jpg"))]
for number in range({DARK}):
    image = Image.open(io.BytesIO(samples[number % len(samples)])).convert("RGB")
    made = io.BytesIO()
    ImageEnhance.Brightness(image).enhance(0.2 + 0.3 * number / {DARK}).save(made, "JPEG")
    urllib.request.urlopen("http://catsdogs:8080/predictions/catsdogs", made.getvalue(), timeout=60).read()
print("sent")
"""
MEASURED = """
import json
import urllib.request

answer = json.load(urllib.request.urlopen("http://127.0.0.1:8082/drift", timeout=10))
print(answer["windows"][0]["features"]["brightness"]["pictures"])
"""
RECORDED = """
from handler.records import files_of
from pathlib import Path

print(*(path.name for path in files_of(Path("/records"))))
"""


@pytest.fixture(scope="module")
def release(cluster: Cluster, namespace: str) -> Iterator[str]:
    with make_claim(cluster, namespace, "records", shared=True) as claim:
        records = {"enabled": True, "claimName": claim}
        cluster.install(namespace, replicas=2, drift={"schedule": "0 0 1 1 *"}, records=records)
        yield namespace
        cluster.uninstall(namespace)


def run(cluster: Cluster, namespace: str, name: str) -> tuple[V1Job, str]:
    """Make a Job as the CronJob does, wait for its end, and return it and its pod's log."""
    template = cluster.batch.read_namespaced_cron_job("catsdogs-drift", namespace).spec.job_template
    cluster.batch.create_namespaced_job(namespace, {"metadata": {"name": name}, "spec": template.spec})

    def ended() -> V1Job | None:
        job = cluster.batch.read_namespaced_job(name, namespace)
        return job if job.status.succeeded or job.status.failed else None

    job = wait_for(ended, 240, f"{name} has ended", 1)
    (pod,) = cluster.core.list_namespaced_pod(namespace, label_selector=f"job-name={name}").items
    return job, cluster.log(namespace, pod.metadata.name, "drift")


def test_few_pictures_do_not_fail_it_and_every_pod_is_asked(cluster: Cluster, release: str) -> None:
    job, log = run(cluster, release, "quiet")
    assert job.status.succeeded == 1, log
    assert "INCONCLUSIVE: 2 of 2 servers answered." in log


def test_dark_pictures_of_all_pods_together_fail_it(cluster: Cluster, release: str) -> None:
    pods = [pod.metadata.name for pod in cluster.ready(release)]
    assert cluster.shell(release, pods[0], "torchserve", SEND).strip() == "sent"

    def measured() -> list[int]:
        return [int(cluster.shell(release, pod, "gateway", MEASURED)) for pod in pods]

    wait_for(lambda: sum(measured()) >= DARK * 0.8, 30, "the pictures are counted", 1)
    job, log = run(cluster, release, "dark")
    assert job.status.failed == 1, log
    assert "BREACH: 2 of 2 servers answered." in log
    assert "brightness" in log
    assert max(measured()) < 0.9 * sum(measured()), "both pods had some"


def test_all_pods_record_in_one_folder(cluster: Cluster, release: str) -> None:
    pods = [pod.metadata.name for pod in cluster.ready(release)]
    names = cluster.shell(release, pods[0], "torchserve", RECORDED).split()
    assert {pod for pod in pods if any(name.startswith(f"records-{pod}-") for name in names)} == set(pods), json.dumps(
        names
    )
