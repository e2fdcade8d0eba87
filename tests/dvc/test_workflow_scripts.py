"""The scripts of data.yml and retrain.yml on a small project, with the real DVC and a folder as its remote."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.dvc.support import environment, make_project, shell
from tests.training.conftest import draw_folders
from tests.zoo import ROOT

# DVC starts each verb as a process of its own: minutes in all.
pytestmark = pytest.mark.slow
NEW = 8


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose first version is committed, and whose data is in a remote."""
    folder = tmp_path_factory.mktemp("workflows")
    project = make_project(folder / "pets")
    shell(
        project,
        f"dvc remote add --default store {folder}/store && dvc repro -q training/dvc.yaml && dvc push -q"
        " && git add . && git commit -q -m First",
        environment(),
    )
    return project


@pytest.fixture
def clone(origin: Path, tmp_path: Path) -> Path:
    shell(tmp_path, f"git clone -q {origin} clone", environment())
    return tmp_path / "clone"


def run(script: str, folder: Path, **variables: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [ROOT / ".ci" / script],
        env=environment(CATSDOGS_PROJECT=str(folder), **variables),
        capture_output=True,
        text=True,
        timeout=1500,
    )


def test_a_clone_gets_the_data_and_sees_the_models_metrics(clone: Path) -> None:
    done = run("data", clone)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "accuracy" in done.stdout
    assert (clone / "model-store" / "dvc" / "mine.mar").exists()


def test_a_parameter_without_its_model_is_found(clone: Path) -> None:
    config = clone / "training" / "config.yaml"
    values = yaml.safe_load(config.read_text())
    values["train"]["epochs"] = 2
    config.write_text(yaml.safe_dump(values))
    done = run("data", clone)
    assert done.returncode == 1
    assert "training/dvc.lock is not of this training/dvc.yaml" in done.stderr
    assert "train" in {line.rpartition(":")[2] for line in done.stderr.splitlines()[1:]}


def test_data_that_was_never_pushed_is_found(clone: Path, tmp_path: Path) -> None:
    shell(clone, f"dvc remote modify store url {tmp_path}/empty", environment())
    done = run("data", clone)
    assert done.returncode == 1
    assert "dvc push" in done.stderr


def test_nothing_is_trained_where_nothing_changed(clone: Path) -> None:
    before = (clone / "training" / "dvc.lock").read_bytes()
    done = run("retrain", clone)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Nothing was trained" in done.stdout
    assert (clone / "training" / "dvc.lock").read_bytes() == before


def test_new_pictures_give_a_new_model_which_another_clone_can_fetch(clone: Path, origin: Path, tmp_path: Path) -> None:
    draw_folders(tmp_path / "drawn", 40 + NEW)
    for folder in (tmp_path / "drawn").iterdir():
        # The first forty are those that are there already.
        for path in sorted(folder.iterdir())[-NEW:]:
            (tmp_path / "new" / folder.name).mkdir(parents=True, exist_ok=True)
            shutil.copy(path, tmp_path / "new" / folder.name / f"new-{path.name}")
    done = run("retrain", clone, NEW_PICTURES=str(tmp_path / "new"), MLFLOW_TRACKING_URI="")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Trained: model-store/dvc/mine" in done.stdout
    assert "Not promoted" in done.stdout
    lock, metrics = (clone / "training" / name for name in ("dvc.lock", "metrics.json"))
    assert lock.read_bytes() != (origin / "training" / "dvc.lock").read_bytes()
    shell(tmp_path, f"git clone -q {origin} other && cp {lock} {metrics} other/training", environment())
    checked = run("data", tmp_path / "other")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    rows = (tmp_path / "other" / "data" / "manifest.csv").read_text().splitlines()
    assert len(rows) > len((origin / "data" / "manifest.csv").read_text().splitlines())


def test_a_new_lock_is_proposed_on_a_branch_of_its_own(clone: Path, tmp_path: Path) -> None:
    made = tmp_path / "made"
    made.mkdir()
    lock, metrics = made / "dvc.lock", made / "metrics.json"
    lock.write_text((clone / "training" / "dvc.lock").read_text() + "# new\n")
    metrics.write_text('{"all": {"accuracy": 1.0}}\n')
    programs = tmp_path / "programs"
    programs.mkdir()
    # gh needs the forge; git and its remote are real.
    gh = programs / "gh"
    gh.write_text(f'#!/bin/sh\necho "$*" >>{tmp_path}/calls.txt\n')
    gh.chmod(0o755)
    variables = environment(CATSDOGS_PROJECT=str(clone))
    done = subprocess.run(
        [ROOT / ".ci" / "propose", made],
        env={**variables, "PATH": f"{programs}{os.pathsep}{variables['PATH']}"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    branches = shell(clone, "git ls-remote --heads origin 'retrain/*'", environment()).split()
    assert len(branches) == 2
    branch = branches[1].removeprefix("refs/heads/")
    for path in (lock, metrics):
        assert shell(clone, f"git show origin/{branch}:training/{path.name}", environment()) == path.read_text()
    auth, create = (tmp_path / "calls.txt").read_text().splitlines()
    assert auth == "auth setup-git"
    assert create.startswith(f"pr create --head {branch} --title training: the model of ")
