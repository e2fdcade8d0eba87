"""Tests of the chart's feedback: off by default, where it is stored, what signs it, and who mounts what."""

from base64 import b64decode

import click
import kubernetes_validate
import pytest

import catsdogs
from serving.gateway.keys import KEY
from tests.helm.support import (
    CPU,
    EVERYTHING,
    NEWEST,
    OLDEST,
    Object,
    Rendered,
    environment,
    flags,
    named,
    refusal,
    render,
)
from tests.helm.test_notes import notes

TRIAL = {"feedback": {"enabled": True}}
CLAIM = {"feedback": {"enabled": True, "store": "pvc", "pvc": {"claimName": "given"}, "pictures": True}}
BUCKET = {
    "feedback": {
        "enabled": True,
        "store": "s3",
        "s3": {
            "bucket": "pets",
            "prefix": "given/to us",
            "endpoint": "http://minio.minio:9000",
            "region": "eu-central-1",
            "existingSecret": "our-bucket",
        },
        "signing": {"existingSecret": "our-signing", "key": "signing"},
    }
}
each = pytest.mark.parametrize("values", [TRIAL, CLAIM, BUCKET], ids=["emptyDir", "pvc", "s3"])


def volumes(shaped: Rendered) -> dict[str, Object]:
    return {volume["name"]: volume for volume in shaped.pod["volumes"] if "feedback" in volume["name"]}


def mounts(container: Object) -> dict[str, str]:
    return {m["name"]: m["mountPath"] for m in container["volumeMounts"] if "feedback" in m["name"]}


def test_by_default_nothing_of_it_is_in_any_object() -> None:
    for values in ({}, {"feedback": {"enabled": False, "maxFiles": 5}}):
        assert "feedback" not in str(render(values).objects).lower()


@each
def test_the_gateways_command_is_one_that_catsdogs_has(values: Object) -> None:
    _, verb, *arguments = render(values).gateway["command"]
    command = catsdogs.cli.get_command(click.Context(catsdogs.cli), verb)
    assert command is not None
    read = command.make_context(verb, list(arguments)).params
    assert str(read["feedback_key"]) == "/feedback-key/key"
    assert (read["max_feedback_age"], read["max_feedback_rate"]) == (24, 10)
    assert (read["max_feedback_files"], read["max_feedback_mib"]) == (10_000, 1024)
    assert read["feedback_pictures"] is (values is CLAIM)
    assert read["place"] == ("s3://pets/given/to us" if values is BUCKET else "/feedback")


@each
def test_the_gateway_alone_mounts_what_it_needs(values: Object) -> None:
    shaped = render(values)
    assert set(mounts(shaped.gateway)) == set(volumes(shaped))
    assert mounts(shaped.torchserve) == {}
    assert mounts(shaped.check["spec"]["containers"][0]) == {}


@each
@pytest.mark.parametrize("kubernetes", [OLDEST, NEWEST])
def test_its_objects_are_valid(values: Object, kubernetes: str) -> None:
    for manifest in render(
        {**values, "canary": {"enabled": True, "image": {"tag": "next"}}}, CPU, kubernetes=kubernetes
    ).objects:
        kubernetes_validate.validate(manifest, kubernetes, strict=True)


def test_for_a_trial_it_lies_in_a_folder_of_the_pod_with_room_for_its_bound() -> None:
    shaped = render({"feedback": {"enabled": True, "maxMiB": 100}})
    assert volumes(shaped)["feedback"]["emptyDir"] == {"sizeLimit": "164Mi"}
    assert flags(shaped.gateway)["max-feedback-mib"] == "100"


def test_it_lies_on_a_claim() -> None:
    assert volumes(render(CLAIM))["feedback"]["persistentVolumeClaim"] == {"claimName": "given"}


def test_a_bucket_is_reached_by_keys_that_are_files() -> None:
    shaped = render(BUCKET)
    assert volumes(shaped)["feedback-credentials"]["secret"] == {"secretName": "our-bucket", "defaultMode": 0o440}
    assert environment(shaped.gateway) == {
        "CATSDOGS_FEEDBACK_CREDENTIALS": "/feedback-credentials",
        "AWS_REGION": "eu-central-1",
        "NVIDIA_VISIBLE_DEVICES": "void",
    }
    assert flags(shaped.gateway)["feedback-endpoint-url"] == "http://minio.minio:9000"
    assert "feedback" not in volumes(shaped)


def test_a_secret_with_a_key_is_made_that_the_server_takes() -> None:
    shaped = render(TRIAL)
    (secret,) = shaped.kind("Secret")
    assert KEY.fullmatch(b64decode(secret["data"]["key"]).decode())
    mounted = volumes(shaped)["feedback-key"]["secret"]
    assert mounted["secretName"] == secret["metadata"]["name"] == "catsdogs-feedback"
    assert mounted["items"] == [{"key": "key", "path": "key"}]


def test_a_secret_that_is_there_is_used_and_none_is_made() -> None:
    shaped = render(BUCKET)
    assert not shaped.kind("Secret")
    mounted = volumes(shaped)["feedback-key"]["secret"]
    assert (mounted["secretName"], mounted["items"]) == ("our-signing", [{"key": "signing", "path": "key"}])


def test_both_tracks_sign_by_the_same_key() -> None:
    shaped = render({**TRIAL, "canary": {"enabled": True, "image": {"tag": "next"}}})
    signing = [
        named(deployment["spec"]["template"]["spec"]["volumes"], "feedback-key")
        for deployment in shaped.kind("Deployment")
    ]
    assert len(signing) == 2
    assert signing[0] == signing[1]


def test_it_goes_with_everything_else() -> None:
    shaped = render({**EVERYTHING, **CLAIM})
    assert flags(shaped.gateway)["feedback"] == "/feedback"
    assert shaped.manifest("Secret")["metadata"]["annotations"] == EVERYTHING["commonAnnotations"]


@pytest.mark.parametrize(
    ("feedback", "sentence"),
    [
        ({"store": "pvc"}, "set feedback.pvc.claimName"),
        ({"store": "s3"}, "set feedback.s3.bucket"),
        ({"pvc": {"claimName": "given"}}, "feedback.pvc.claimName is set, but feedback.store is emptyDir"),
        ({"store": "pvc", "pvc": {"claimName": "given"}, "s3": {"bucket": "pets"}}, "feedback.s3.bucket is set, but"),
        ({"store": "disk"}, "feedback/store"),
        ({"maxPerSecond": 0}, "feedback/maxPerSecond"),
    ],
)
def test_what_does_not_go_together_is_refused(feedback: Object, sentence: str) -> None:
    message = refusal({"feedback": {"enabled": True, **feedback}})
    assert sentence in message or sentence.replace("/", ".") in message


def test_the_notes_say_what_it_means() -> None:
    assert "feedback" not in notes({}).lower()
    trial = notes(TRIAL)
    assert "feedback is lost with the pod" in trial
    assert "every client can give feedback" in trial
    assert "every client can give feedback" not in notes({**TRIAL, "auth": {"existingSecret": "keys"}})
    assert "pictures of users who agree are stored" in notes(CLAIM)
    assert "pods on several nodes must be able to mount given and write to it" in notes(CLAIM)
    assert "no pod can reach the bucket" in notes({**BUCKET, "networkPolicy": {"enabled": True}})
