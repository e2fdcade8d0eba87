"""The blocks of docs/how-to/version-data.md in a small project, with the real DVC and SeaweedFS as the bucket."""

import filecmp
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.documentation import Block, run_by
from tests.dvc.support import environment, make_project, seaweedfs, shell
from training.data import manifest as manifests

# DVC starts each verb as a process of its own: minutes in all.
pytestmark = pytest.mark.slow
STAGES = ["prepare", "train", "evaluate", "export", "package"]
MADE = [
    "data/manifest.csv",
    "data/shards/00000.tar",
    "runs/dvc/best.pt",
    "runs/dvc/evaluation/report.json",
    "model-store/dvc/mine/release.json",
    "model-store/dvc/mine.mar",
]
REPRO = "dvc repro training/dvc.yaml"
CLONED = "https://git.example/pets.git"
BUCKET = "http://127.0.0.1:8333"


def block(name: str) -> Block:
    (chosen,) = (each for each in run_by(__file__) if each.note.endswith(f", as {name}"))
    return chosen


def stages_run(output: str) -> list[str]:
    """Return the stages that DVC ran, in their order."""
    lines = [line for line in output.splitlines() if line.startswith("Running stage ")]
    return [line.split("'")[1].rpartition(":")[2] for line in lines]


@dataclass
class Project:
    """A project after its first version, and after what its tests do in their order."""

    folder: Path
    first: str
    """Output of the block of the first version."""

    def do(self, text: str, **variables: str) -> str:
        return shell(self.folder, text, environment(**variables))


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    folder = make_project(tmp_path_factory.mktemp("dvc") / "pets")
    return Project(folder, shell(folder, block("the first version").text, environment()))


@pytest.fixture(scope="module")
def copy(project: Project, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """A clean clone that pulled from the bucket."""
    with seaweedfs(block("the server"), tmp_path_factory.mktemp("server")) as (url, keys):
        remote = block("a remote").text
        assert BUCKET in remote
        project.do(remote.replace(BUCKET, url), **keys)
        place = tmp_path_factory.mktemp("elsewhere")
        mirror = {
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": f"url.{project.folder}.insteadOf",
            "GIT_CONFIG_VALUE_0": CLONED,
        }
        yield Project(place / "copy", shell(place, block("a colleague").text, environment(**keys, **mirror)))


def test_the_first_version_runs_each_stage_once(project: Project) -> None:
    assert stages_run(project.first) == STAGES
    assert all((project.folder / name).exists() for name in MADE)


def test_another_repro_runs_nothing(project: Project) -> None:
    assert stages_run(project.do(REPRO)) == []
    assert project.do("git status --short") == ""


def test_a_clean_clone_pulls_the_same_bytes_from_a_bucket_and_has_nothing_to_run(
    project: Project, copy: Project
) -> None:
    assert filecmp.cmpfiles(project.folder, copy.folder, MADE, shallow=False) == (MADE, [], [])
    assert not (copy.folder / "pictures").exists()
    assert stages_run(copy.first) == []
    assert copy.first.count("didn't change, skipping") == len(STAGES)


def test_a_clone_has_its_pictures_in_shards_and_unpacked_as_they_were(project: Project, copy: Project) -> None:
    pictures = manifests.read(copy.folder / "data")
    assert pictures.root == copy.folder / "data" / "shards"
    copy.do(block("unpacking").text)
    names = [picture.path for picture in pictures.pictures]
    here, there = copy.folder / "pictures", project.folder / "pictures"
    assert filecmp.cmpfiles(here, there, names, shallow=False) == (names, [], [])
    assert copy.do("dvc status") == "Data and pipelines are up to date.\n"


def test_the_bucket_holds_archives_and_no_single_pictures(project: Project) -> None:
    cached = [path.stat().st_size for path in (project.folder / ".dvc/cache/files").rglob("*") if path.is_file()]
    assert len(cached) < len(list((project.folder / "pictures").rglob("*.jpg")))
    metrics = json.loads((project.folder / "runs/dvc/evaluation/metrics.json").read_text())
    assert set(metrics["all"]) >= {"accuracy", "low", "high", "ece"}


def test_an_experiment_runs_what_its_parameter_changes_and_is_compared_and_dropped(project: Project) -> None:
    best = (project.folder / "runs/dvc/best.pt").read_bytes()
    output = project.do(block("an experiment").text)
    assert stages_run(output) == ["train", "evaluate"]
    parameter = next(line for line in output.splitlines() if "train.epochs" in line and "training/config.yaml" in line)
    assert parameter.split()[-2:] == ["3", "2"]
    metric = next(line for line in output.splitlines() if "metrics.json" in line and "all.log_loss " in line)
    assert metric.split()[-3] != metric.split()[-2]
    page = (project.folder / "runs/plots/index.html").read_text()
    assert all(name in page for name in ("val_loss", "val_accuracy", "confusion", "precision", "probability"))
    assert (project.folder / "runs/dvc/best.pt").read_bytes() != best
    project.do(block("the way back").text)
    assert (project.folder / "runs/dvc/best.pt").read_bytes() == best
    assert project.do("dvc status") == "Data and pipelines are up to date.\n"
