import json
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import catsdogs
from handler.files import UserError, sha256_file
from tests.training.train_support import TINY, draw_manifest, settings
from training import recipes
from training.cli.run_names import mistyped
from training.data import manifest as manifests
from training.data.manifest import Manifest
from training.data.prepare import prepare

Invoke = Callable[..., str]
Folders = Callable[..., Path]


def row(table: str, name: str) -> list[str]:
    """The cells of the one row that starts with a name."""
    rows = [[cell.strip() for cell in line.strip("│").split("│")] for line in table.splitlines()]
    (matching,) = [cells for cells in rows if cells[0] == name]
    return matching


def test_prepare_prints_the_counts_what_it_set_aside_and_the_manifests_sha256(
    data: Path, manifest: Manifest, outputs: dict[str, str]
) -> None:
    for label in ("cat", "dog"):
        counts = [sum(p.label == label for p in manifest.split(name)) for name in ("train", "val", "test")]
        assert row(outputs["prepare"], label) == [label, *map(str, counts)]
    *_, quarantine, last = outputs["prepare"].splitlines()
    assert quarantine.startswith("Cannot be used: 1. ")
    assert quarantine.endswith(f" {data}/quarantine.csv says why.")
    assert last == f"{data}/manifest.csv  sha256 {sha256_file(data / 'manifest.csv')}"


def test_train_prints_one_line_per_epoch_and_the_best_checkpoint(run: Path, outputs: dict[str, str]) -> None:
    *lines, best = outputs["train"].splitlines()
    epochs = [line for line in lines if line.startswith("epoch")]
    assert epochs == lines[-4:]
    assert [line.split()[1] for line in epochs] == ["1/4", "2/4", "3/4", "4/4"]
    assert all("val accuracy" in line and line.endswith("min left") for line in epochs)
    assert best == f"best checkpoint: {run / 'best.pt'}, curves in {run}/curves.png"


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with data/, of forty pictures."""
    folder = tmp_path_factory.mktemp("few")
    draw_manifest(folder, {"train": 15, "val": 5})
    return folder


def test_what_is_computed_ahead_of_training_is_told_line_by_line_where_there_is_no_terminal(
    few: Path, invoke: Invoke, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.learning.views.SHARD", 3)
    frozen = settings([*TINY, "model.freeze_backbone=true", "train.epochs=1"])
    arguments = ("train", "--data", few / "data", "--cache", tmp_path / "cache", *frozen)
    lines = invoke(*arguments, "--run", tmp_path / "run").splitlines()
    name = "train pictures through the frozen network"
    assert lines[:10] == [f"{name}: {done} of 30" for done in range(3, 31, 3)]
    assert lines[10] == "val pictures through the frozen network: 3 of 10"
    assert lines[13] == "val pictures through the frozen network: 10 of 10"
    assert lines[14].startswith("epoch   1/1")
    again = invoke(*arguments, "--run", tmp_path / "again").splitlines()
    assert again[:2] == [f"{name}: 30 of 30", "val pictures through the frozen network: 10 of 10"]
    assert again[2].startswith("epoch   1/1")


def test_the_time_left_grows_with_the_pictures_that_are_still_to_come(
    few: Path, invoke: Invoke, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from training.learning import train
    from training.learning.history import EpochLine

    def pretend(*arguments: object) -> Path:
        *_, on_epoch, _say, _begin = arguments
        assert callable(on_epoch)
        # Of two epochs more at twice the side, each takes four times as long.
        on_epoch(EpochLine(1, 32, 0.5, 0.5, 0.5, 100, 60))
        return tmp_path

    monkeypatch.setattr(train, "train", pretend)
    growing = settings([*TINY, "train.epochs=3", "train.min_size=32", "train.max_size=64"])
    told = invoke("train", "--data", few / "data", "--run", tmp_path / "run", *growing)
    # 48 px, then 64 px: (2.25 + 4) minutes.
    assert "60 s, about 6 min left" in told


def test_only_the_first_of_several_processes_speaks(
    few: Path, invoke: Invoke, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANK", "1")
    assert invoke("train", "--data", few / "data", "--run", tmp_path / "run", *settings([*TINY])) == ""


def test_resume_where_there_is_no_run_says_that_a_new_one_begins(
    few: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    arguments = ["--data", few / "data", "--run", run, *settings([*TINY, "train.epochs=1"]), "--resume"]
    catsdogs.cli(["train", *map(str, arguments)], standalone_mode=False)
    out, err = capsys.readouterr()
    assert f"There is no run in {run} to resume: a new one begins there." in err.splitlines()
    assert "epoch   1/1" in out


@pytest.mark.parametrize("name", ["frist", "firrst", "fist"])
def test_resume_of_a_mistyped_run_names_the_one_that_is_there(tmp_path: Path, name: str) -> None:
    (tmp_path / "first").mkdir()
    (tmp_path / "first" / "last.pt").touch()
    there = re.escape(str(tmp_path / "first"))
    with pytest.raises(UserError, match=rf"There is no run in .*/{name} to resume\. Did you mean --run {there}\?"):
        catsdogs.cli(["train", "--run", str(tmp_path / name), "--resume"], standalone_mode=False)
    assert not (tmp_path / name).exists()


@pytest.mark.parametrize(
    ("there", "name"), [("run-1", "run-2"), ("run-a", "run-b"), ("cat", "cats"), ("a", "a-larger")]
)
def test_runs_that_are_told_apart_by_a_number_or_an_ending_are_not_mistyped(
    tmp_path: Path, there: str, name: str
) -> None:
    (tmp_path / there).mkdir()
    (tmp_path / there / "last.pt").touch()
    assert mistyped(tmp_path / name) is None


def test_evaluate_prints_each_slice_with_its_interval(evaluation: Path, outputs: dict[str, str]) -> None:
    slices = json.loads((evaluation / "report.json").read_bytes())["slices"]
    for name, figures in slices.items():
        accuracy, low, high = (f"{100 * figures[key]:.2f} %" for key in ("accuracy", "low", "high"))
        cells = [name, accuracy, f"{low} to {high}", str(figures["count"])]
        assert row(outputs["evaluate"], name)[:4] == cells
    assert f"{evaluation}/report.json" in outputs["evaluate"]


def test_evaluate_names_the_classes_with_few_pictures(
    data: Path, run: Path, tmp_path: Path, manifest: Manifest, invoke: Callable[..., str]
) -> None:
    few = {label: sum(row.label == label for row in manifest.split("val")) for label in ("cat", "dog")}
    assert max(few.values()) < 20
    output = invoke("evaluate", "--data", data, "--run", run, "--split", "val", "--out", tmp_path)
    wanted = f"uncertain: cat ({few['cat']}), dog ({few['dog']})."
    assert f"Fewer than 20 val pictures, so the accuracy of the class is {wanted}" in output


def test_export_prints_how_near_the_onnx_is_and_what_comes_next(release: Path, outputs: dict[str, str]) -> None:
    first, int8, last = outputs["export"].splitlines()
    parity = json.loads((release / "release.json").read_bytes())["parity"]
    assert (
        first
        == f"{release}: torch and the runtimes agree within {parity['max_difference']} on {parity['pictures']} pictures"
    )
    assert int8.startswith("int8 is not released (INCONCLUSIVE). int8 was not tried: it takes 736 test pictures")
    assert last == f"next: catsdogs package {release}"


def test_package_prints_the_archive_and_its_sha256(archive: Path, outputs: dict[str, str]) -> None:
    assert outputs["package"] == f"{archive}  sha256 {sha256_file(archive)}\n"


def test_package_takes_the_folder_it_stands_in(
    release: Path, invoke: Invoke, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(shutil.copytree(release, tmp_path / "mine"))
    invoke("package", ".", "--runtime", "ort")
    assert (tmp_path / "mine.mar").is_file()


def test_resume_goes_on_with_the_runs_own_config(data: Path, run: Path, invoke: Invoke, tmp_path: Path) -> None:
    copy = shutil.copytree(run, tmp_path / "run")
    *_, last = invoke("train", "--data", data, "--run", copy, "--resume").splitlines()
    assert last == f"best checkpoint: {copy / 'best.pt'}, curves in {copy}/curves.png"


def test_export_says_when_no_figures_belong_to_the_checkpoint(
    run: Path, class_folders: Folders, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # The manifest of another class stops it right after.
    folder = class_folders(tmp_path / "a", 2)
    (folder / "Dog").rename(folder / "Fox")
    manifests.write(prepare([folder]), tmp_path / "data")
    copy = shutil.copytree(run, tmp_path / "run")
    shutil.rmtree(copy / "evaluation", ignore_errors=True)
    arguments = ["--data", tmp_path / "data", "--run", copy, "--out", tmp_path / "out", "--version", "1"]
    with pytest.raises(
        UserError, match=r"There are no figures on .*best\.pt: run catsdogs evaluate first; .*--allow-poor"
    ):
        catsdogs.cli(["export", *map(str, arguments)], standalone_mode=False)
    with pytest.raises(UserError, match="a class that the checkpoint does not know: fox"):
        catsdogs.cli(["export", *map(str, arguments), "--allow-poor"], standalone_mode=False)
    assert capsys.readouterr().err.startswith("No figures go into the release: this checkpoint was not evaluated.")


def told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> str:
    """Return what the command writes to standard error before it exits with 2."""
    monkeypatch.setattr(sys, "argv", ["catsdogs", *map(str, arguments)])
    with pytest.raises(SystemExit) as stopped:
        catsdogs.main()
    assert stopped.value.code == 2
    *notes, err = capsys.readouterr().err.splitlines()
    assert all(recipes.FEW_SENTENCE in note for note in notes)
    assert err.startswith("catsdogs: ")
    return err
