"""The training Job: steps in order, each a command that catsdogs has, resumed where a pod was lost."""

import click
import pytest
import yaml

import catsdogs
from tests.helm.support import Object
from tests.zoo import ROOT

TEXT = (ROOT / "k8s" / "training-job.yaml").read_text()
ON_CPUS = "".join(line for line in TEXT.splitlines(keepends=True) if not line.endswith("# GPU\n"))
STEPS = ["prepare", "train", "evaluate", "export", "package-gpu", "package-cpu"]


def job(text: str) -> Object:
    (manifest,) = [manifest for manifest in yaml.safe_load_all(text) if manifest["kind"] == "Job"]
    spec: Object = manifest["spec"]
    return spec


def steps(text: str) -> list[Object]:
    pod = job(text)["template"]["spec"]
    return [*pod["initContainers"], *pod["containers"]]


def test_every_step_is_a_container_and_they_run_one_after_the_other() -> None:
    assert [step["name"] for step in steps(TEXT)] == STEPS
    assert not [step for step in steps(TEXT) if "restartPolicy" in step]


@pytest.mark.parametrize("step", steps(TEXT), ids=STEPS)
def test_each_command_is_one_that_catsdogs_has(step: Object) -> None:
    program, verb, *arguments = step["command"]
    assert program == "catsdogs"
    command = catsdogs.cli.get_command(click.Context(catsdogs.cli), verb)
    assert command is not None
    command.make_context(verb, list(arguments))


def test_training_goes_on_where_it_was() -> None:
    assert "--resume" in steps(TEXT)[1]["command"]


def test_what_is_written_lies_on_volumes() -> None:
    paths = [word.rpartition("=")[2] for step in steps(TEXT) for word in step["command"] if "/" in word]
    assert len(paths) > 10
    assert all(path.startswith(("/data/", "/model-store/")) for path in paths)
    pod = job(TEXT)["template"]["spec"]
    claims = [
        volume["persistentVolumeClaim"]["claimName"] for volume in pod["volumes"] if "persistentVolumeClaim" in volume
    ]
    made = [
        manifest["metadata"]["name"]
        for manifest in yaml.safe_load_all(TEXT)
        if manifest["kind"] == "PersistentVolumeClaim"
    ]
    assert claims == made


def test_only_training_takes_a_gpu() -> None:
    for step in steps(TEXT):
        assert ("nvidia.com/gpu" in step["resources"]["limits"]) == (step["name"] == "train")


def test_without_the_gpus_lines_it_runs_on_cpus() -> None:
    assert [step["name"] for step in steps(ON_CPUS)] == STEPS
    pod = job(ON_CPUS)["template"]["spec"]
    assert "tolerations" not in pod
    assert "priorityClassName" not in pod
    assert all("nvidia.com/gpu" not in step["resources"]["limits"] for step in steps(ON_CPUS))


def test_a_wrong_argument_ends_the_job_and_a_preempted_pod_does_not() -> None:
    rules = job(TEXT)["podFailurePolicy"]["rules"]
    assert {"action": "FailJob", "onExitCodes": {"operator": "In", "values": [2]}} in rules
    assert {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]} in rules


def test_its_priority_is_the_pools_and_below_servings() -> None:
    pool = list(yaml.safe_load_all((ROOT / "k8s" / "gpu-pool.yaml").read_text()))
    values = {
        manifest["metadata"]["name"]: manifest["value"] for manifest in pool if manifest["kind"] == "PriorityClass"
    }
    assert values["catsdogs-training"] < 0 < values["catsdogs-serving"]
    assert job(TEXT)["template"]["spec"]["priorityClassName"] == "catsdogs-training"
