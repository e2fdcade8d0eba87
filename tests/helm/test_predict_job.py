"""The Indexed Job of predictions: made of the chart's server, and of a command that catsdogs has."""

import click
import pytest
import yaml

import catsdogs
from k8s import render as manifests
from serving.bulk.shard import read_shard
from tests.helm.support import CPU, Object, helm, named, render
from tests.zoo import ROOT

TEXT = (ROOT / "k8s" / "predict-job.yaml").read_text()


def of_kind(kind: str) -> list[Object]:
    return [manifest for manifest in yaml.safe_load_all(TEXT) if manifest["kind"] == kind]


def job() -> Object:
    (manifest,) = of_kind("Job")
    spec: Object = manifest["spec"]
    return spec


def pod() -> Object:
    spec: Object = job()["template"]["spec"]
    return spec


def container() -> Object:
    (only,) = pod()["containers"]
    return dict(only)


def test_it_is_the_one_that_is_rendered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HELM", helm())
    assert manifests.predict_job() == TEXT, "make chart"


def test_each_index_has_a_shard_of_its_own() -> None:
    count = job()["completions"]
    assert job()["completionMode"] == "Indexed"
    (shard,) = (word.partition("=")[2] for word in container()["command"] if word.startswith("--shard="))
    shards = {read_shard(shard, {"JOB_COMPLETION_INDEX": str(index)}) for index in range(count)}
    assert [(one.index, one.count) for one in sorted(shards, key=lambda one: one.index)] == [
        (index, count) for index in range(count)
    ]


def test_the_command_is_one_that_catsdogs_has() -> None:
    program, verb, *arguments = container()["command"]
    assert program == "catsdogs"
    command = catsdogs.cli.get_command(click.Context(catsdogs.cli), verb)
    assert command is not None
    command.make_context(verb, list(arguments))


def test_it_is_as_closed_as_the_server() -> None:
    server = render({}, CPU).template["spec"]
    torchserve = named(server["initContainers"], "torchserve")
    assert pod()["securityContext"] == server["securityContext"]
    for fact in ("image", "securityContext", "resources"):
        assert container()[fact] == torchserve[fact], fact
    assert container()["securityContext"]["readOnlyRootFilesystem"] is True
    assert pod()["automountServiceAccountToken"] is False


def test_what_is_written_lies_on_volumes_and_the_pictures_cannot_be_written() -> None:
    mounts = {mount["mountPath"]: mount.get("readOnly", False) for mount in container()["volumeMounts"]}
    assert mounts == {"/pictures": True, "/predictions": False, "/run/catsdogs": False}
    claims = {volume["persistentVolumeClaim"]["claimName"] for volume in pod()["volumes"] if "emptyDir" not in volume}
    assert claims == {claim["metadata"]["name"] for claim in of_kind("PersistentVolumeClaim")}


def test_a_pod_that_gives_way_does_not_count_and_a_wrong_argument_ends_the_job() -> None:
    rules = job()["podFailurePolicy"]["rules"]
    assert rules[0] == {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}
    assert rules[1]["action"] == "FailJob"
    assert rules[1]["onExitCodes"] == {"containerName": "predict", "operator": "In", "values": [2]}
    assert job()["backoffLimitPerIndex"] > 0
    assert "backoffLimit" not in job()
    assert pod()["restartPolicy"] == "Never"


def test_nobody_may_connect_to_it_and_it_may_ask_dns_and_the_web() -> None:
    (policy,) = (manifest["spec"] for manifest in of_kind("NetworkPolicy"))
    assert policy["podSelector"]["matchLabels"].items() <= job()["template"]["metadata"]["labels"].items()
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    assert "ingress" not in policy
    assert {port["port"] for rule in policy["egress"] for port in rule["ports"]} == {53, 443}
