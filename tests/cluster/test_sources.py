"""Archives from a web server and from a bucket, which pods of this namespace serve.

What is whole is served, what was cut off is refused in the container's last words, and what breaks off goes on.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from serving.signature.bundle import make_bundle
from serving.signature.statement import SINGLE, Statement
from tests.cluster import bucket as bucket_pod
from tests.cluster import web as web_pod
from tests.cluster.support import HERE, IMAGE, Cluster, last_words, restarts, wait_for
from tests.cluster.volumes import make_claim
from tests.signing import Pair

pytestmark = pytest.mark.breadth

ARCHIVE = "/models/catsdogs.mar"
# Less than half of the archive.
HELD = 20_000_000


def lines(cluster: Cluster, namespace: str, pod: str) -> list[dict[str, Any]]:
    log = cluster.log(namespace, pod, "client").splitlines()
    return [json.loads(line) for line in log if line.startswith("{")]


@contextmanager
def running(
    cluster: Cluster, namespace: str, name: str, script: Path, *arguments: str, files: dict[str, str] | None = None
) -> Iterator[dict[str, Any]]:
    """A pod that runs a script, which has said its first line of JSON: that line; `files` lie beside the script."""
    spec = yaml.safe_load((HERE / "client.yaml").read_text())
    container = spec["containers"][0]
    container["image"] = f"{IMAGE}-client"
    container["command"] = ["python", f"/client/{script.name}", ARCHIVE, *arguments]
    container["env"] = [{"name": "PYTHONPATH", "value": "/opt/s3"}]
    # moto keeps large objects in files.
    container["volumeMounts"].append({"name": "run", "mountPath": "/run/catsdogs"})
    spec["terminationGracePeriodSeconds"] = 1
    spec["securityContext"]["fsGroup"] = 10001
    spec["volumes"][0]["configMap"]["name"] = name
    spec["volumes"].append({"name": "run", "emptyDir": {}})
    data = {script.name: script.read_text(), **(files or {})}
    cluster.core.create_namespaced_config_map(namespace, {"metadata": {"name": name}, "data": data})
    cluster.core.create_namespaced_pod(
        namespace, {"metadata": {"name": name, "labels": {"source": name}}, "spec": spec}
    )
    try:
        wait_for(lambda: cluster.pod(namespace, name).status.phase == "Running", 60, f"{name} runs")
        yield wait_for(lambda: lines(cluster, namespace, name), 120, f"{name} serves")[0]
    finally:
        cluster.core.delete_namespaced_pod(name, namespace)
        cluster.core.delete_namespaced_config_map(name, namespace)
        wait_for(lambda: not cluster.exists(namespace, name), 60, f"{name} is gone")


@contextmanager
def service(cluster: Cluster, namespace: str, name: str, port: int) -> Iterator[None]:
    spec = {"selector": {"source": name}, "ports": [{"port": port}]}
    cluster.core.create_namespaced_service(namespace, {"metadata": {"name": name}, "spec": spec})
    yield
    cluster.core.delete_namespaced_service(name, namespace)


@contextmanager
def secret(cluster: Cluster, namespace: str, name: str, **entries: str) -> Iterator[str]:
    cluster.core.create_namespaced_secret(namespace, {"metadata": {"name": name}, "stringData": entries})
    yield name
    cluster.core.delete_namespaced_secret(name, namespace)


@pytest.fixture(scope="module")
def web(cluster: Cluster, namespace: str) -> Iterator[str]:
    """Its address, as pods know it."""
    with (
        service(cluster, namespace, "web", web_pod.PORT),
        running(cluster, namespace, "web", HERE / "web.py"),
        secret(cluster, namespace, "web-header", header=f"Authorization: {web_pod.TOKEN}\n"),
    ):
        yield f"http://web:{web_pod.PORT}"


@pytest.fixture(scope="module")
def bucket(cluster: Cluster, namespace: str) -> Iterator[str]:
    with (
        service(cluster, namespace, "bucket", bucket_pod.PORT),
        running(cluster, namespace, "bucket", HERE / "bucket.py") as keys,
        secret(
            cluster, namespace, "bucket-keys", AWS_ACCESS_KEY_ID=keys["access"], AWS_SECRET_ACCESS_KEY=keys["secret"]
        ),
        secret(cluster, namespace, "wrong-keys", AWS_ACCESS_KEY_ID=keys["access"], AWS_SECRET_ACCESS_KEY="wrong"),
    ):
        yield f"http://bucket:{bucket_pod.PORT}"


@pytest.fixture(scope="module")
def sha256(cluster: Cluster, namespace: str, web: str) -> str:
    script = f"import hashlib; print(hashlib.sha256(open('{ARCHIVE}', 'rb').read()).hexdigest())"
    return cluster.shell(namespace, "web", "client", script).strip()


def is_served(
    cluster: Cluster, namespace: str, release: str, model: dict[str, Any], message: str = "is fetched: "
) -> None:
    cluster.install(namespace, release, replicas=1, model=model)
    try:
        (pod,) = cluster.ready(namespace, release)
        assert restarts(pod, "model") == 0
        assert message in cluster.log(namespace, pod.metadata.name, "model")
    finally:
        cluster.uninstall(namespace, release)


def is_refused(
    cluster: Cluster, namespace: str, release: str, model: dict[str, Any], reason: str, container: str = "model"
) -> None:
    cluster.install(namespace, release, wait=False, replicas=1, model=model)
    try:
        (pod,) = wait_for(lambda: cluster.pods(namespace, release), 30, "a pod")
        name = pod.metadata.name
        wait_for(
            lambda: reason in last_words(cluster.pod(namespace, name), container),
            90,
            f"the container's last words are: {reason}",
            1,
        )
        assert not cluster.ready(namespace, release)
    finally:
        cluster.uninstall(namespace, release)


@dataclass(frozen=True)
class Maker:
    """Who signs archives: the public key as a file of PEM, and a web server with signatures."""

    public: Path
    web: str


@pytest.fixture(scope="module")
def maker(cluster: Cluster, namespace: str, sha256: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Maker]:
    folder = tmp_path_factory.mktemp("keys")
    pair, stranger = Pair(folder), Pair(folder, "stranger")
    archive = Statement("catsdogs.mar", {SINGLE: sha256})
    files = {
        "signed.mar.sig": make_bundle(archive, pair.key),
        "stranger.mar.sig": make_bundle(archive, stranger.key),
        "other.mar.sig": make_bundle(Statement("other.mar", {SINGLE: "0" * 64}), pair.key),
    }
    texts = {name: data.decode() for name, data in files.items()}
    with (
        service(cluster, namespace, "signed", web_pod.PORT),
        running(cluster, namespace, "signed", HERE / "web.py", files=texts),
    ):
        yield Maker(pair.public, f"http://signed:{web_pod.PORT}")


def of_maker(maker: Maker, sha256: str, path: str) -> dict[str, Any]:
    return of_web(maker.web, sha256, path) | {"signature": {"publicKey": maker.public.read_text()}}


def of_web(web: str, sha256: str, path: str, **more: str) -> dict[str, Any]:
    return {"source": "http", "sha256": sha256, "http": {"url": f"{web}{path}", **more}}


def of_bucket(bucket: str, sha256: str, key: str, keys: str = "bucket-keys") -> dict[str, Any]:
    place = {"endpoint": bucket, "bucket": "models", "key": key, "existingSecret": keys}
    return {"source": "s3", "sha256": sha256, "s3": place}


def test_a_signed_archive(cluster: Cluster, namespace: str, maker: Maker, sha256: str) -> None:
    is_served(cluster, namespace, "signed-model", of_maker(maker, sha256, "/signed.mar"), "is signed by a key of")


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/unsigned.mar", "No signature of the archive: "),
        ("/stranger.mar", "it was made with another key"),
        ("/other.mar", "is the signature of another archive"),
    ],
)
def test_an_archive_that_is_not_signed_as_it_must_be(
    cluster: Cluster, namespace: str, maker: Maker, sha256: str, path: str, reason: str
) -> None:
    is_refused(cluster, namespace, "refused", of_maker(maker, sha256, path), reason)


def test_torchserve_refuses_an_unsigned_archive_of_the_image(cluster: Cluster, namespace: str, maker: Maker) -> None:
    model = {"signature": {"publicKey": maker.public.read_text()}}
    reason = "catsdogs.mar.sig is missing: the model is not signed"
    is_refused(cluster, namespace, "baked", model, reason, container="torchserve")


def test_a_web_server_that_asks_for_a_header(cluster: Cluster, namespace: str, web: str, sha256: str) -> None:
    is_served(cluster, namespace, "http", of_web(web, sha256, "/private.mar", existingSecret="web-header"))


def test_a_web_server_that_is_not_given_its_header(cluster: Cluster, namespace: str, web: str, sha256: str) -> None:
    is_refused(cluster, namespace, "closed", of_web(web, sha256, "/private.mar"), "the server answers 401")


def test_a_bucket_by_keys(cluster: Cluster, namespace: str, bucket: str, sha256: str) -> None:
    is_served(cluster, namespace, "s3", of_bucket(bucket, sha256, "whole.mar"))


def test_a_bucket_by_wrong_keys(cluster: Cluster, namespace: str, bucket: str, sha256: str) -> None:
    model = of_bucket(bucket, sha256, "whole.mar", "wrong-keys")
    is_refused(cluster, namespace, "forbidden", model, "the server answers 403 SignatureDoesNotMatch")


def test_a_truncated_file_of_a_web_server(cluster: Cluster, namespace: str, web: str, sha256: str) -> None:
    reason = f"It was cut off: {web_pod.TRUNCATED} bytes"
    is_refused(cluster, namespace, "cut-http", of_web(web, sha256, "/truncated.mar"), reason)


def test_a_truncated_file_of_a_bucket(cluster: Cluster, namespace: str, bucket: str, sha256: str) -> None:
    reason = f"It was cut off: {bucket_pod.TRUNCATED} bytes"
    is_refused(cluster, namespace, "cut-s3", of_bucket(bucket, sha256, "truncated.mar"), reason)


def test_what_lies_in_the_cache_is_not_asked_for(cluster: Cluster, namespace: str, web: str, sha256: str) -> None:
    with make_claim(cluster, namespace, "models") as claim:
        cache = {"claimName": claim}
        header = {"existingSecret": "web-header"}
        is_served(cluster, namespace, "first", of_web(web, sha256, "/private.mar", **header) | {"cache": cache})
        nobody = of_web("http://nobody:8000", sha256, "/private.mar") | {"cache": cache}
        is_served(cluster, namespace, "second", nobody, message="is there already, with this sha256")


def test_a_server_that_goes_and_comes_back_is_asked_for_the_rest(
    cluster: Cluster, namespace: str, sha256: str, tell: list[str]
) -> None:
    script = HERE / "web.py"
    with service(cluster, namespace, "flaky", web_pod.PORT):
        with running(cluster, namespace, "flaky", script, f"--hold={HELD}"):
            model = of_web(f"http://flaky:{web_pod.PORT}", sha256, "/held.mar")
            cluster.install(namespace, "flaky", wait=False, replicas=1, model=model)
            wait_for(lambda: {"held": HELD} in lines(cluster, namespace, "flaky"), 90, "a part is sent", 1)
        try:
            with running(cluster, namespace, "flaky", script):
                (pod,) = wait_for(lambda: cluster.ready(namespace, "flaky"), 240, "the rest is fetched and served", 1)
                ranges = [line["range"] for line in lines(cluster, namespace, "flaky") if "path" in line]
                assert ranges == [f"bytes={HELD}-"]
                assert restarts(pod, "model") == 0
                tell.append(
                    f"sources: a download that broke at {HELD / 1e6:.0f} MB went on there when its server was back"
                )
        finally:
            cluster.uninstall(namespace, "flaky")
