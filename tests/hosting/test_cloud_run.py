"""Requests to Cloud Run, and the revision that gets the traffic.

gcloud is a stand-in (standin_gcloud.py). The servers that are validated are real ones.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

import catsdogs
from common.verdicts import WRONG_USAGE, Verdict
from serving.hosting.cloud_run.render import render, with_traffic
from serving.server.launch import Server
from tests.cluster.models import change
from tests.e2e.support import start
from tests.zoo import ROOT

GCLOUD = Path(__file__).with_name("standin_gcloud.py")
SERVICE = {
    "name": "catsdogs",
    "image": "europe-docker.pkg.dev/p/r/catsdogs-serve@sha256:0123",
    "service_account": "serve@p.iam.gserviceaccount.com",
    "min_instances": "0",
    "max_instances": "3",
}
JOB = {
    "name": "catsdogs",
    "image": "europe-docker.pkg.dev/p/r/catsdogs-train:0.3.0",
    "service_account": "train@p.iam.gserviceaccount.com",
    "version": "0.3.0",
    "pictures": "p-pictures",
    "store": "p-store",
}


# What is sent


def test_the_service_runs_the_image_as_its_account_and_asks_for_its_health() -> None:
    service = render("service", SERVICE)
    assert (service["apiVersion"], service["kind"]) == ("serving.knative.dev/v1", "Service")
    template = service["spec"]["template"]
    (container,) = template["spec"]["containers"]
    assert container["image"] == SERVICE["image"]
    assert template["spec"]["serviceAccountName"] == SERVICE["service_account"]
    assert container["ports"] == [{"name": "http1", "containerPort": 8080}]
    assert container["startupProbe"]["httpGet"] == {"path": "/readyz", "port": 8080}
    assert container["livenessProbe"]["httpGet"] == {"path": "/livez", "port": 8080}
    annotations = template["metadata"]["annotations"]
    assert all(isinstance(value, str) for value in annotations.values())
    assert annotations["run.googleapis.com/cpu-throttling"] == "false", "workers could not send heartbeats"


@pytest.mark.parametrize(("kind", "values"), [("service", SERVICE), ("job", JOB)])
def test_what_it_starts_is_a_verb_with_options_that_exist(kind: str, values: dict[str, str]) -> None:
    template = render(kind, values)["spec"]["template"]["spec"]
    (container,) = (template if kind == "service" else template["template"]["spec"])["containers"]
    verb, *arguments = container["args"]
    command = catsdogs.cli.get_command(click.Context(catsdogs.cli), verb)
    assert command is not None
    assert command.make_context(verb, list(arguments)).params


def test_the_job_reads_one_bucket_and_writes_the_other_as_the_images_user() -> None:
    job = render("job", JOB)
    assert (job["apiVersion"], job["kind"]) == ("run.googleapis.com/v1", "Job")
    task = job["spec"]["template"]["spec"]["template"]["spec"]
    (container,) = task["containers"]
    assert {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]} == {
        "pictures": "/pictures",
        "store": "/model-store",
    }
    volumes = {volume["name"]: volume["csi"] for volume in task["volumes"]}
    assert volumes["pictures"]["readOnly"] is True
    assert volumes["store"]["volumeAttributes"]["bucketName"] == "p-store"
    user = next(line.split()[1] for line in dockerfile() if line.startswith("USER"))
    assert "uid={},gid={}".format(*user.split(":")) in volumes["store"]["volumeAttributes"]["mountOptions"]


def dockerfile() -> list[str]:
    return (ROOT / "Dockerfile.train").read_text().splitlines()


def test_a_new_revision_gets_no_traffic_and_an_address_of_its_own() -> None:
    service = render("service", SERVICE)
    assert with_traffic(service, "catsdogs-00007", "candidate")["spec"]["traffic"] == [
        {"revisionName": "catsdogs-00007", "percent": 100},
        {"latestRevision": True, "tag": "candidate", "percent": 0},
    ]
    assert with_traffic(service, None, "candidate")["spec"]["traffic"] == [
        {"latestRevision": True, "tag": "candidate", "percent": 100}
    ]


@pytest.mark.parametrize("image", ["", "image\nargs: [x]", "${image}", '"', "-x"])
def test_what_could_stand_for_more_than_a_value_is_refused(image: str) -> None:
    with pytest.raises(ValueError, match="--image cannot be"):
        render("service", {**SERVICE, "image": image})


# Who gets the traffic


@dataclass
class Cloud:
    """A folder with a stand-in for gcloud."""

    folder: Path

    def __post_init__(self) -> None:
        program = self.folder / "gcloud"
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{GCLOUD}" "$@"\n')
        program.chmod(0o755)

    def deploy(self, address: str, *options: str) -> "subprocess.CompletedProcess[str]":
        (self.folder / "address").write_text(address)
        # Nothing else is on the PATH: a real gcloud is not asked.
        environment = {**os.environ, "PATH": str(self.folder), "STANDIN_GCLOUD": str(self.folder)}
        command = [sys.executable, "-m", "serving.hosting.cloud_run.deploy", "--region=europe-west1"]
        given = [f"--image={SERVICE['image']}", f"--service-account={SERVICE['service_account']}", *options]
        return subprocess.run([*command, *given], cwd=ROOT, env=environment, capture_output=True, text=True)

    def service(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads((self.folder / "service.json").read_text())
        return document

    def serving(self) -> list[str]:
        traffic = self.service()["status"]["traffic"]
        return [part["revisionName"] for part in traffic if part["percent"] == 100]


@pytest.fixture
def cloud(tmp_path: Path) -> Cloud:
    return Cloud(tmp_path)


@pytest.fixture(scope="module")
def good(archive: Path) -> Iterator[Server]:
    with start(archive, workers=1) as running:
        yield running


@pytest.fixture(scope="module")
def poor(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that calls cats dogs."""
    path = tmp_path_factory.mktemp("poor") / "catsdogs.mar"
    change(archive, path, "release.json", lambda release: release.update(classes=["dog", "cat"]))
    with start(path, workers=1) as running:
        yield running


def test_a_good_revision_gets_the_traffic_and_a_poor_one_does_not(cloud: Cloud, good: Server, poor: Server) -> None:
    first = cloud.deploy(good.options.url)
    assert first.returncode == Verdict.PASS.exit_code, first.stdout + first.stderr
    assert cloud.serving() == ["catsdogs-00001"]
    second = cloud.deploy(good.options.url)
    assert second.returncode == Verdict.PASS.exit_code, second.stdout
    assert cloud.serving() == ["catsdogs-00002"]
    refused = cloud.deploy(poor.options.url)
    assert refused.returncode == Verdict.BREACH.exit_code, refused.stdout
    assert "catsdogs-00002 serves on." in refused.stdout
    assert cloud.serving() == ["catsdogs-00002"]
    tagged = [part for part in cloud.service()["status"]["traffic"] if part.get("tag") == "candidate"]
    assert [(part["revisionName"], part["percent"]) for part in tagged] == [("catsdogs-00003", 0)]


def test_a_revision_that_does_not_start_is_refused(cloud: Cloud) -> None:
    (cloud.folder / "fails").write_text("The user-provided container failed to start and listen on the port")
    done = cloud.deploy("http://127.0.0.1:9")
    assert done.returncode == Verdict.BREACH.exit_code
    assert "failed to start" in done.stdout


def test_wrong_usage_and_a_machine_without_gcloud_are_sentences(cloud: Cloud) -> None:
    assert cloud.deploy("http://127.0.0.1:9", "--image=a b").returncode == WRONG_USAGE
    (cloud.folder / "gcloud").unlink()
    done = cloud.deploy("http://127.0.0.1:9")
    assert (done.returncode, done.stdout) == (WRONG_USAGE, "There is no gcloud on the PATH.\n")


# Render


def test_renders_blueprint_runs_an_image_and_asks_for_its_health_at_its_port() -> None:
    (service,) = yaml.safe_load((ROOT / "serving" / "hosting" / "render.yaml").read_text())["services"]
    assert (service["type"], service["runtime"]) == ("web", "image")
    assert service["healthCheckPath"] == "/readyz"
    assert service["envVars"] == [{"key": "PORT", "value": "8080"}]
    command = next(
        json.loads(line.removeprefix("CMD "))
        for line in (ROOT / "Dockerfile.serve").read_text().splitlines()
        if line.startswith('CMD ["serve"')
    )
    assert command[:4] == ["serve", "/models/catsdogs.mar", "--host", "0.0.0.0"], "Render runs the image's own command"
