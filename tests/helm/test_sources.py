"""Tests of the archive's sources: the container that fetches it, with which secrets, and where it then lies."""

import re

import click
import pytest

import catsdogs
from tests.helm.support import (
    CPU,
    EVERYTHING,
    HTTP,
    IMAGE_VOLUMES,
    OCI,
    PVC,
    S3,
    SHA,
    Object,
    Rendered,
    environment,
    flags,
    named,
    render,
    with_model,
)
from tests.zoo import ROOT

FETCHED = {"http": HTTP, "s3": S3}
fetched = pytest.mark.parametrize("values", FETCHED.values(), ids=FETCHED)


def names(objects: list[Object]) -> list[str]:
    return [manifest["name"] for manifest in objects]


@pytest.mark.parametrize("values", [{}, PVC], ids=["image", "pvc"])
def test_what_is_there_already_needs_no_container(values: Object) -> None:
    assert names(render(values).pod["initContainers"]) == ["torchserve"]


@fetched
def test_the_archive_is_fetched_before_torchserve_starts(values: Object) -> None:
    shaped = render(values)
    assert names(shaped.pod["initContainers"]) == ["model", "torchserve"]
    # Kubernetes waits for the end of one that is not a sidecar.
    assert "restartPolicy" not in shaped.fetch


@fetched
def test_the_command_is_one_that_catsdogs_has(values: Object) -> None:
    program, verb, *arguments = render(with_model(values, fetchSeconds=60, maxMiB=99)).fetch["command"]
    command = catsdogs.cli.get_command(click.Context(catsdogs.cli), verb)
    assert program == "catsdogs"
    assert command is not None
    read = command.make_context(verb, list(arguments)).params
    assert read["sha256"] == SHA
    assert {60, 99} <= set(read.values())


def test_what_is_asked_for() -> None:
    assert render(HTTP).fetch["command"][2] == "https://models.example/catsdogs-0.2.0.mar"
    assert render(S3).fetch["command"][2] == "s3://models/catsdogs/0.2.0.mar"


@fetched
def test_torchserve_gets_what_was_fetched_to_read_and_checks_it_again(values: Object) -> None:
    shaped = render(values)
    archive = f"/models/{SHA}.mar"
    assert shaped.fetch["command"][3] == shaped.torchserve["command"][2] == archive
    assert flags(shaped.torchserve)["sha256"] == flags(shaped.fetch)["sha256"] == SHA
    assert {"name": "model", "mountPath": "/models", "readOnly": True} in shaped.torchserve["volumeMounts"]
    assert {"name": "model", "mountPath": "/models"} in shaped.fetch["volumeMounts"]
    assert "model" not in names(shaped.gateway["volumeMounts"])


@fetched
def test_there_is_room_for_what_may_be_fetched_and_not_for_much_more(values: Object) -> None:
    volume = named(render(with_model(values, maxMiB=100)).pod["volumes"], "model")
    assert volume == {"name": "model", "emptyDir": {"sizeLimit": "116Mi"}}


@fetched
def test_the_reason_of_a_failure_stands_in_describe(values: Object) -> None:
    assert render(values).fetch["terminationMessagePolicy"] == "FallbackToLogsOnError"


@fetched
def test_it_is_as_restricted_as_the_others_and_leaves_a_gpu_pod_guaranteed(values: Object) -> None:
    shaped = render(values)
    assert shaped.fetch["securityContext"] == shaped.torchserve["securityContext"]
    assert shaped.fetch["image"] == shaped.torchserve["image"]
    assert shaped.fetch["resources"]["requests"] == shaped.fetch["resources"]["limits"]
    assert environment(shaped.fetch)["NVIDIA_VISIBLE_DEVICES"] == "void"


def test_its_resources_can_be_set() -> None:
    resources = {"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"cpu": None, "memory": "128Mi"}}
    assert render(with_model(HTTP, resources=resources)).fetch["resources"] == {
        "requests": {"cpu": "50m", "memory": "64Mi"},
        "limits": {"memory": "128Mi"},
    }


def assert_only_the_fetch_has_credentials(shaped: Rendered) -> None:
    assert {"name": "credentials", "mountPath": "/credentials", "readOnly": True} in shaped.fetch["volumeMounts"]
    assert "credentials" not in str(shaped.torchserve) + str(shaped.gateway) + str(shaped.check)
    assert "secretKeyRef" not in str(shaped.objects)
    assert "secretRef" not in str(shaped.objects)


@fetched
def test_without_a_secret_there_is_nothing_to_show(values: Object) -> None:
    assert "credentials" not in str(render(values).objects)


def test_a_header_comes_from_its_secret_and_reaches_nobody_else() -> None:
    shaped = render(
        with_model(HTTP, http={"url": "https://m.example/a.mar", "existingSecret": "token", "key": "bearer"})
    )
    assert environment(shaped.fetch)["CATSDOGS_FETCH_HEADER_FILE"] == "/credentials/header"
    secret = named(shaped.pod["volumes"], "credentials")["secret"]
    assert secret == {"secretName": "token", "defaultMode": 0o440, "items": [{"key": "bearer", "path": "header"}]}
    assert_only_the_fetch_has_credentials(shaped)


def test_the_keys_of_a_bucket_come_from_their_secret_and_reach_nobody_else() -> None:
    shaped = render(with_model(S3, s3={"bucket": "models", "key": "a.mar", "existingSecret": "bucket-keys"}))
    assert environment(shaped.fetch)["CATSDOGS_FETCH_CREDENTIALS"] == "/credentials"
    assert named(shaped.pod["volumes"], "credentials")["secret"] == {"secretName": "bucket-keys", "defaultMode": 0o440}
    assert_only_the_fetch_has_credentials(shaped)


def test_without_a_secret_a_service_account_is_enough() -> None:
    annotations = {"eks.amazonaws.com/role-arn": "arn:aws:iam::111122223333:role/reader"}
    shaped = render({**S3, "serviceAccount": {"create": True, "annotations": annotations}})
    assert "envFrom" not in shaped.fetch
    assert "AWS_REGION" not in environment(shaped.fetch)
    assert shaped.manifest("ServiceAccount")["metadata"]["annotations"] == annotations
    # EKS' webhook mounts a token of its own for the role; the one for Kubernetes is not needed.
    assert shaped.pod["automountServiceAccountToken"] is False


def test_endpoint_and_region_of_a_bucket() -> None:
    shaped = render(
        with_model(S3, s3={"bucket": "models", "key": "a.mar", "endpoint": "http://minio:9000", "region": "eu-west-1"})
    )
    assert flags(shaped.fetch)["endpoint-url"] == "http://minio:9000"
    assert environment(shaped.fetch)["AWS_REGION"] == "eu-west-1"


def test_a_cache_on_the_node_must_be_there_and_is_written_to_by_the_one_who_fetches() -> None:
    shaped = render(with_model(HTTP, cache={"hostPath": "/var/cache/catsdogs"}))
    volume = named(shaped.pod["volumes"], "model")
    assert volume == {"name": "model", "hostPath": {"path": "/var/cache/catsdogs", "type": "Directory"}}
    assert named(shaped.torchserve["volumeMounts"], "model")["readOnly"] is True


def test_a_cache_on_a_volume() -> None:
    shaped = render(with_model(S3, cache={"claimName": "kept"}))
    assert named(shaped.pod["volumes"], "model") == {"name": "model", "persistentVolumeClaim": {"claimName": "kept"}}


def test_what_users_add_reaches_it_too() -> None:
    """They may add a CA of their own, or a proxy."""
    shaped = render({**EVERYTHING, **HTTP})
    assert environment(shaped.fetch)["LOG_LEVEL"] == "INFO"
    assert {"name": "more", "mountPath": "/more"} in shaped.fetch["volumeMounts"]


def test_an_image_volume_is_mounted_for_torchserve_alone() -> None:
    image = {"reference": "registry.example/models@sha256:1", "path": "models/a.mar", "pullPolicy": "Always"}
    shaped = render(with_model(OCI, oci=image), kubernetes=IMAGE_VOLUMES)
    assert names(shaped.pod["initContainers"]) == ["torchserve"]
    assert shaped.torchserve["command"][2] == "/models/models/a.mar"
    assert flags(shaped.torchserve)["sha256"] == SHA
    assert {"name": "model", "mountPath": "/models", "readOnly": True} in shaped.torchserve["volumeMounts"]
    assert named(shaped.pod["volumes"], "model") == {
        "name": "model",
        "image": {"reference": "registry.example/models@sha256:1", "pullPolicy": "Always"},
    }


@pytest.mark.parametrize("kubernetes", ["1.33.0", "1.34.2-eks-1a2b3c", "1.37.0"])
def test_image_volumes_are_for_those_who_have_them(kubernetes: str) -> None:
    assert render(OCI, CPU, kubernetes=kubernetes).deployment


def test_the_documented_image_volume_renders() -> None:
    text = (ROOT / "docs" / "how-to" / "model-sources.md").read_text()
    (reference,) = re.findall(r"model\.oci\.reference=(\S+)", text)
    assert render(with_model(OCI, oci={"reference": reference}), kubernetes=IMAGE_VOLUMES).deployment
