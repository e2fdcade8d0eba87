"""Tests of model.signature: which containers get the public key, and what they are told."""

import pytest

from tests.helm.support import (
    EVERYTHING,
    HTTP,
    OCI,
    PUBLIC,
    PVC,
    S3,
    SHA,
    Object,
    Rendered,
    flags,
    named,
    refusal,
    render,
    with_model,
)

SOURCES = {"image": {"model": {"sha256": SHA}}, "pvc": PVC, "http": HTTP, "s3": S3, "oci": OCI}
each = pytest.mark.parametrize("values", SOURCES.values(), ids=SOURCES)
MOUNT = {"name": "model-key", "mountPath": "/model-key", "readOnly": True}


def shaped(values: Object, **signature: str) -> Rendered:
    return render(with_model(values, signature=signature), kubernetes="1.33.0")


@each
def test_who_loads_the_archive_gets_the_key_and_nobody_else(values: Object) -> None:
    rendered = shaped(values, existingConfigMap="trusted", key="maker.pem")
    for container in rendered.pod["initContainers"]:
        assert flags(container)["model-key"] == "/model-key/keys.pem"
        assert MOUNT in container["volumeMounts"]
    assert MOUNT not in rendered.gateway["volumeMounts"]
    volume = named(rendered.pod["volumes"], "model-key")
    assert volume["configMap"] == {"name": "trusted", "items": [{"key": "maker.pem", "path": "keys.pem"}]}
    assert not rendered.kind("ConfigMap")


def test_a_key_in_the_values_is_in_a_config_map_and_another_one_rolls_the_pods() -> None:
    rendered, other = shaped(HTTP, publicKey=PUBLIC), shaped(HTTP, publicKey=PUBLIC.replace("MFkw", "MHYw"))
    config = rendered.manifest("ConfigMap")
    assert config["data"] == {"keys.pem": PUBLIC}
    mounted = named(rendered.pod["volumes"], "model-key")["configMap"]
    assert mounted["name"] == config["metadata"]["name"] == "catsdogs-model-key"
    assert mounted["items"] == [{"key": "keys.pem", "path": "keys.pem"}]
    sums = {item.template["metadata"]["annotations"]["checksum/model-key"] for item in (rendered, other)}
    assert len(sums) == 2


@each
def test_without_a_key_nothing_is_demanded(values: Object) -> None:
    rendered = render(values, kubernetes="1.33.0")
    assert "model-key" not in str(rendered.objects)


def test_the_canary_must_be_signed_too() -> None:
    canary = {"enabled": True, "model": {"sha256": "0" * 64, "http": {"url": "https://models.example/next.mar"}}}
    rendered = render({**with_model(HTTP, signature={"publicKey": PUBLIC}), "canary": canary})
    deployments = rendered.kind("Deployment")
    assert len(deployments) == 2
    for deployment in deployments:
        for container in deployment["spec"]["template"]["spec"]["initContainers"]:
            assert flags(container)["model-key"] == "/model-key/keys.pem"


def test_with_everything_else_it_is_demanded() -> None:
    assert flags(render(EVERYTHING).torchserve)["model-key"] == "/model-key/keys.pem"


@pytest.mark.parametrize("key", ["AAAA", "-----BEGIN PRIVATE KEY-----\nA\n-----END PRIVATE KEY-----\n", "~/pub.pem"])
def test_what_is_no_public_key_is_refused(key: str) -> None:
    assert "publicKey" in refusal(with_model(HTTP, signature={"publicKey": key}))
