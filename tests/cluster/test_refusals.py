"""A pod that cannot serve is never ready, and its log and `kubectl describe` tell the operator the reason."""

from collections.abc import Iterator

import pytest
from kubernetes.client import ApiException

from tests.cluster.support import IMAGE, Cluster, last_words, wait_for
from tests.cluster.volumes import make_claim, run_in

TAG = IMAGE.rpartition(":")[2]


def refused(cluster: Cluster, namespace: str, release: str, reason: str, **values: object) -> None:
    """Installs a release of one pod, which must never be ready and say why."""
    cluster.install(namespace, release, wait=False, replicas=1, startupSeconds=20, **values)
    try:
        (pod,) = wait_for(lambda: cluster.pods(namespace, release), 30, "a pod")
        name = pod.metadata.name

        def described() -> str:
            now = cluster.pod(namespace, name)
            assert not cluster.ready(namespace, release)
            events = "\n".join(event.message or "" for event in cluster.events(namespace, name))
            return last_words(now, "torchserve") + events

        wait_for(lambda: reason in described(), 90, f"`kubectl describe` says: {reason}", 1)
        if cluster.pod(namespace, name).status.init_container_statuses:
            wait_for(lambda: reason in logs(cluster, namespace, name), 60, f"the log says: {reason}", 1)
        assert not cluster.ready(namespace, release)
    finally:
        cluster.uninstall(namespace, release)


def logs(cluster: Cluster, namespace: str, pod: str) -> str:
    text = ""
    for previous in (False, True):
        try:
            text += cluster.log(namespace, pod, "torchserve", previous=previous)
        except ApiException:  # there is none yet, or no more
            continue
    return text


@pytest.fixture(scope="module")
def claim(cluster: Cluster, namespace: str) -> Iterator[str]:
    """A volume with two archives: a whole one, and one that was cut off while it was copied."""
    with make_claim(cluster, namespace, "store") as name:
        script = (
            "import pathlib; data = pathlib.Path('/models/catsdogs.mar').read_bytes();"
            "store = pathlib.Path('/store'); (store / 'whole.mar').write_bytes(data);"
            "(store / 'cut.mar').write_bytes(data[:1_000_000])"
        )
        run_in(cluster, namespace, name, IMAGE, ["python", "-c", script])
        yield name


def sha256_of(cluster: Cluster, namespace: str, claim: str, name: str) -> str:
    script = f"import hashlib; print(hashlib.sha256(open('/store/{name}', 'rb').read()).hexdigest())"
    return run_in(cluster, namespace, claim, IMAGE, ["python", "-c", script]).strip()


def test_an_archive_that_was_cut_off(cluster: Cluster, namespace: str, claim: str) -> None:
    whole = sha256_of(cluster, namespace, claim, "whole.mar")
    model = {"source": "pvc", "sha256": whole, "pvc": {"claimName": claim, "path": "cut.mar"}}
    refused(cluster, namespace, "cut", "is not the archive that was asked for", model=model)


def test_a_cut_off_archive_whose_own_sha256_was_given(cluster: Cluster, namespace: str, claim: str) -> None:
    cut = sha256_of(cluster, namespace, claim, "cut.mar")
    model = {"source": "pvc", "sha256": cut, "pvc": {"claimName": claim, "path": "cut.mar"}}
    refused(cluster, namespace, "corrupt", "is corrupted", model=model)


def test_a_wrong_sha256(cluster: Cluster, namespace: str) -> None:
    refused(cluster, namespace, "wrong", "its sha256 is", model={"sha256": "0" * 64})


def test_a_claim_that_is_not_there(cluster: Cluster, namespace: str) -> None:
    model = {"source": "pvc", "sha256": "0" * 64, "pvc": {"claimName": "nowhere"}}
    refused(cluster, namespace, "missing", 'persistentvolumeclaim "nowhere" not found', model=model)


def test_a_model_that_does_not_answer_as_it_should(cluster: Cluster, namespace: str) -> None:
    refused(cluster, namespace, "broken", "answers wrongly", image={"tag": f"{TAG}-broken"})


def test_the_archive_of_a_volume_is_served(cluster: Cluster, namespace: str, claim: str) -> None:
    sha256 = sha256_of(cluster, namespace, claim, "whole.mar")
    model = {"source": "pvc", "sha256": sha256, "pvc": {"claimName": claim, "path": "whole.mar"}}
    cluster.install(namespace, "whole", replicas=1, model=model)
    assert len(cluster.ready(namespace, "whole")) == 1
    cluster.uninstall(namespace, "whole")
