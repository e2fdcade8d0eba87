"""The command of k8s/training-nodes.yaml, typed on two nodes that are both this machine."""

import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import yaml

from common.ports import free_ports
from tests.training.train_support import TINY, history, settings
from tests.zoo import ROOT

JOB = next(
    entry for entry in yaml.safe_load_all((ROOT / "k8s" / "training-nodes.yaml").read_text()) if entry["kind"] == "Job"
)
POD: dict[str, Any] = JOB["spec"]["template"]["spec"]
(TRAIN,) = POD["containers"]
(PREPARE,) = POD["initContainers"]
FEW = ("train.epochs=2", "train.batch_size=8")
# `torchrun` and `catsdogs` of this environment, and no network but this machine's own.
SCRIPTS = Path(sys.executable).parent
HERE = {"PATH": f"{SCRIPTS}:{os.environ['PATH']}", "CUDA_VISIBLE_DEVICES": "", "GLOO_SOCKET_IFNAME": "lo"}


def start(arguments: list[str], index: int, **more: str) -> subprocess.Popen[str]:
    own = {"JOB_COMPLETION_INDEX": str(index), "PYTHONPATH": str(ROOT), "COLUMNS": "200"}
    environment = {**os.environ, **HERE, **own, **more}
    arguments = [word.replace("$(JOB_COMPLETION_INDEX)", str(index)) for word in arguments]
    return subprocess.Popen(
        arguments, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def output_of(process: subprocess.Popen[str]) -> str:
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    return output


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, class_folders: Callable[..., Path]) -> Path:
    """The two volumes, and a few pictures."""
    folder = tmp_path_factory.mktemp("nodes")
    class_folders(folder / "pictures", 24)
    return folder


def local(arguments: list[str], folder: Path) -> list[str]:
    """Return the command with its volumes in this folder, and these pictures in place of the dataset."""
    places = {"/data/": f"{folder}/data/", "/model-store/": f"{folder}/model-store/"}
    places["microsoft-cats-vs-dogs"] = f"{folder}/pictures"
    for there, here in places.items():
        arguments = [word.replace(there, here) for word in arguments]
    return arguments


@pytest.fixture(scope="module")
def told(folder: Path) -> list[str]:
    """Return the nodes' output; the second node starts long before the first, which prepares."""
    (port,) = free_ports(1)
    train = [
        word.replace("catsdogs-training-nodes-0.catsdogs-training-nodes", "127.0.0.1").replace("29500", str(port))
        for word in local(TRAIN["command"], folder)
    ]
    train += settings([*TINY, *FEW])
    with ExitStack() as stack:
        assert output_of(start(local(PREPARE["command"], folder), 1)) == ""
        second = stack.enter_context(start(train, 1))
        stack.callback(second.kill)
        assert "manifest.csv" in output_of(start(local(PREPARE["command"], folder), 0))
        first = stack.enter_context(start(train, 0))
        stack.callback(first.kill)
        return [output_of(first), output_of(second)]


@pytest.mark.slow
def test_two_nodes_train_one_run_and_the_first_one_tells(folder: Path, told: list[str]) -> None:
    first, second = told
    assert [line.split()[:2] for line in first.splitlines() if line.startswith("epoch")] == [
        ["epoch", "1/2"],
        ["epoch", "2/2"],
    ]
    assert "epoch" not in second
    assert len(history(folder / "model-store" / "runs" / "catsdogs")) == 2


@pytest.mark.slow
@pytest.mark.usefixtures("told")
def test_the_job_of_one_node_then_finds_everything_done(folder: Path) -> None:
    jobs = yaml.safe_load_all((ROOT / "k8s" / "training-job.yaml").read_text())
    (job,) = (entry for entry in jobs if entry["kind"] == "Job")
    prepare, train, evaluate, *_ = job["spec"]["template"]["spec"]["initContainers"]
    run = folder / "model-store" / "runs" / "catsdogs"
    before = (run / "best.pt").read_bytes()
    output_of(start(local(prepare["command"], folder), 0))
    (line,) = output_of(start(local(train["command"], folder), 0)).splitlines()
    assert line.startswith(f"best checkpoint: {run / 'best.pt'}")
    assert (run / "best.pt").read_bytes() == before
    assert "accuracy" in output_of(start(local(evaluate["command"], folder), 0))


@pytest.mark.slow
@pytest.mark.usefixtures("told")
def test_torchrun_takes_the_same_from_kubeflow_trainers_variables(folder: Path) -> None:
    objects = list(yaml.safe_load_all((ROOT / "k8s" / "trainjob.yaml").read_text()))
    (runtime,) = (entry for entry in objects if entry["kind"] == "TrainingRuntime")
    (nodes,) = runtime["spec"]["template"]["spec"]["replicatedJobs"]
    (container,) = nodes["template"]["spec"]["template"]["spec"]["containers"]
    arguments = local(container["command"], folder) + settings([*TINY, *FEW])
    arguments = [word.replace("/runs/catsdogs", "/runs/trainer") for word in arguments]
    (port,) = free_ports(1)
    variables = {"PET_NNODES": "2", "PET_NPROC_PER_NODE": "1"}
    variables |= {"PET_MASTER_ADDR": "127.0.0.1", "PET_MASTER_PORT": str(port)}
    with ExitStack() as stack:
        pods = [stack.enter_context(start(arguments, index, PET_NODE_RANK=str(index), **variables)) for index in (0, 1)]
        for pod in pods:
            stack.callback(pod.kill)
        first, second = map(output_of, pods)
    assert "epoch   2/2" in first
    assert "epoch" not in second
