"""The deployment workflows: their steps are run by a real shell and make, with stand-ins for what these call."""

import json
import os
import re
import shutil
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from k8s.deploy import parser
from serving.hosting.cloud_run.render import parser as job_parser
from tests.zoo import ROOT

WORKFLOWS = ROOT / ".github" / "workflows"
NAMES = ("deploy-kubernetes", "deploy-compose", "deploy-cloud-run")
INSTALLED_FROM = (
    "pyproject.toml",
    "requirements/tools.txt",
    "requirements/serve.txt",
    "requirements/helm.txt",
    "tests/helm/get_helm.py",
)
# Prints its arguments as JSON.
ECHO = '#!/bin/sh\nexec python3 -c "import json, sys; print(json.dumps(sys.argv[1:]))" "$@"\n'


def workflow(name: str) -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load((WORKFLOWS / f"{name}.yml").read_text())
    return document


def steps(name: str) -> list[dict[str, Any]]:
    return [step for job in workflow(name)["jobs"].values() for step in job["steps"]]


def shell_step(name: str, part: str) -> dict[str, Any]:
    (step,) = [step for step in steps(name) if part in f"{step.get('run', '')}\n"]
    return step


def tree(folder: Path) -> Path:
    """Return a folder with the Makefile, and with stand-ins for the programs that its recipes call."""
    folder = folder / "tree"
    for name in (".venv/bin/python", "serving/hosting/deploy_over_ssh", "bin/gcloud", "bin/aws"):
        program(folder / name)
    for name in ("Makefile", "requirements/base-images.env", ".ci/kubeconfig"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    # What installing made, and before it what it is made of.
    for name in (*INSTALLED_FROM, ".venv/.installed", ".venv/bin/helm"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def run_step(step: dict[str, Any], folder: Path, values: dict[str, str]) -> list[list[str]]:
    """Run a step as GitHub does, and return the arguments of the programs that it called."""
    assert set(values) == set(step.get("env", {})), "the step's environment is another one"
    done = subprocess.run(
        ["bash", "-e", "-o", "pipefail", "-c", step["run"]],
        cwd=folder,
        env={
            **values,
            "PATH": f"{folder / 'bin'}:{os.environ['PATH']}",
            "RUNNER_TEMP": str(folder),
            "GITHUB_ENV": str(folder / "env"),
        },
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("[")]


def program(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(ECHO)
    path.chmod(0o755)


@pytest.mark.parametrize("site", ["", "https://cats.example.org"])
@pytest.mark.parametrize("tag", ["0.3.0-cpu", "$(shell touch evil)", "$(touch evil);touch evil", "`touch evil`", "a b"])
def test_kubernetes_passes_what_was_typed_on_as_it_is(tmp_path: Path, site: str, tag: str) -> None:
    folder = tree(tmp_path)
    values = {"NAMESPACE": "cats", "VALUES": "helm/values-cpu.yaml", "IMAGE": "ghcr.io/o/catsdogs-serve"}
    values |= {"KEEP_VALUES": "", "MODEL_VALUES": ""}
    step = shell_step("deploy-kubernetes", "make deploy\n")
    ((dash_m, module, *arguments),) = run_step(step, folder, {**values, "TAG": tag, "SITE": site, "CATSDOGS_KEY": "k"})
    assert (dash_m, module) == ("-m", "k8s.deploy")
    given = dict(zip(arguments[::2], arguments[1::2], strict=True))
    assert given.pop("--tag") == tag
    assert given.pop("--url", "") == site
    assert given == {
        "--helm": ".venv/bin/helm",
        "--namespace": "cats",
        "--values": "helm/values-cpu.yaml",
        "--image": values["IMAGE"],
    }
    assert not list(tmp_path.rglob("evil"))
    assert set(vars(parser().parse_args([]))) >= {name.removeprefix("--") for name in given}


def test_a_champion_changes_the_model_and_keeps_all_other_values(tmp_path: Path) -> None:
    step = shell_step("deploy-kubernetes", "make deploy\n")
    values = dict.fromkeys(step["env"], "")
    values |= {"NAMESPACE": "cats", "MODEL_VALUES": "build/champion/values.yaml", "KEEP_VALUES": "yes"}
    ((_, _, *arguments),) = run_step(step, tree(tmp_path), values)
    given = parser().parse_args(arguments)
    assert given.values == ["build/champion/values.yaml"]
    assert given.keep_values
    assert (given.image, given.tag, given.namespace) == (None, None, "cats")


def test_values_are_kept_by_yes_alone() -> None:
    step = shell_step("deploy-kubernetes", "make deploy\n")
    target = {**os.environ, "KEEP_VALUES": "no", "NAMESPACE": "cats"}
    done = subprocess.run(["sh", "-c", step["run"]], cwd=ROOT, env=target, capture_output=True, text=True)
    assert done.returncode == 2
    assert "KEEP_VALUES is yes, or empty: not no" in done.stderr


def test_the_workflow_of_champions_calls_that_of_deployments_as_it_may_be_called() -> None:
    call = yaml.safe_load((WORKFLOWS / "champion.yml").read_text())["jobs"]["deploy"]
    assert call["uses"] == "./.github/workflows/deploy-kubernetes.yml"
    taken = yaml.safe_load((WORKFLOWS / "deploy-kubernetes.yml").read_text())[True]["workflow_call"]["inputs"]
    required = {name for name, field in taken.items() if field.get("required")}
    assert required <= set(call["with"]) <= set(taken)


def test_a_kubeconfig_is_readable_by_its_user_alone(tmp_path: Path) -> None:
    folder, step = tree(tmp_path), shell_step("deploy-kubernetes", ".ci/kubeconfig")
    run_step(step, folder, {"EKS_CLUSTER": "", "KUBECONFIG_TEXT": "apiVersion: v1\nkind: Config"})
    path = folder / "kubeconfig"
    assert yaml.safe_load(path.read_text())["kind"] == "Config"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert (folder / "env").read_text() == f"KUBECONFIG={path}\n"
    ((*called,),) = run_step(step, folder, {"EKS_CLUSTER": "cats", "KUBECONFIG_TEXT": ""})
    assert called == ["eks", "update-kubeconfig", "--name", "cats", "--kubeconfig", str(path)]


def test_one_machine_gets_the_image_with_its_tag(tmp_path: Path) -> None:
    step = shell_step("deploy-compose", "make deploy-compose")
    values = {name: name.lower() for name in step["env"]}
    assert run_step(step, tree(tmp_path), {**values, "TAG": "$(shell touch evil)"}) == [["image:$(shell touch evil)"]]
    assert not list(tmp_path.rglob("evil"))
    taken = set(re.findall(r"\bSSH_[A-Z_]+", (ROOT / "serving" / "hosting" / "deploy_over_ssh").read_text()))
    assert set(values) == {"IMAGE", "TAG", "CATSDOGS_KEY", *taken}


def test_cloud_run_is_told_what_the_variables_say(tmp_path: Path) -> None:
    folder = tree(tmp_path)
    serve = shell_step("deploy-cloud-run", "make deploy-cloud-run")
    ((_, _, *arguments),) = run_step(serve, folder, {name: name.lower() for name in serve["env"]})
    assert arguments == ["--region", "region", "--image", "image", "--service-account", "account"]
    train = shell_step("deploy-cloud-run", "make train-cloud-run")
    replaced, executed = run_step(train, folder, {name: name.lower() for name in train["env"]})
    assert replaced[:4] == ["run", "jobs", "replace", "build/cloud-run-job.yaml"]
    assert executed[:4] == ["run", "jobs", "execute", "catsdogs-training"]
    module, kind, *options = json.loads((folder / "build" / "cloud-run-job.yaml").read_text())[1:]
    assert (module, kind) == ("serving.hosting.cloud_run.render", "job")
    assert job_parser().parse_args([kind, *options]).pictures == "pictures_bucket"


@pytest.mark.parametrize("name", NAMES)
def test_one_deployment_runs_at_a_time_with_no_more_rights_than_it_needs(name: str) -> None:
    document = workflow(name)
    assert document["permissions"] == {}
    assert document["concurrency"]["cancel-in-progress"] is False
    for job in document["jobs"].values():
        assert job["environment"] == "${{ inputs.environment }}"
        assert job["timeout-minutes"] <= 60
        rights = {"contents": "read"} if name == "deploy-compose" else {"contents": "read", "id-token": "write"}
        assert job["permissions"] == rights
    for step in steps(name):
        assert "${{" not in step.get("run", ""), "what is typed into the form would become part of the script"
        if "uses" in step:
            assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", step["uses"])


def test_nothing_is_called_by_another_event_than_a_person_or_a_workflow() -> None:
    for name in NAMES:
        # YAML reads the word `on` as true.
        assert set(workflow(name)[True]) == {"workflow_dispatch", "workflow_call"}  # type: ignore[index]
