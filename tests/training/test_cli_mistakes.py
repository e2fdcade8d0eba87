"""Mistakes of the user, and a stop by Ctrl-C: one sentence and an exit status."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import catsdogs
from tests.training.train_support import TINY, draw_manifest, settings
from training import recipes
from training.learning.checkpoint import load_checkpoint

FILES = ["best.pt", "config.yaml", "curves.png", "history.csv", "last.pt"]


CHANGED = ("--config", "{run}/config.yaml", "--set", "train.epochs=9")


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with data/, of forty pictures."""
    folder = tmp_path_factory.mktemp("few")
    draw_manifest(folder, {"train": 15, "val": 5})
    return folder


FEW = ("--set", "train.batch_size=8")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["prepare", "nowhere"], "nowhere is not a folder"),
        (["evaluate", "--data", "nowhere"], "Make it by: catsdogs prepare"),
        (["evaluate", "--data", "{data}", "--run", "nowhere"], "nowhere/best.pt"),
        (["export", "--data", "{data}", "--run", "nowhere", "--version", "1"], "nowhere/best.pt"),
        (["package", "nowhere"], "nowhere/release.json is missing."),
        (["train", "--data", "nowhere"], "nowhere/manifest.csv is missing. Make it by: catsdogs prepare PICTURES"),
        (["train", "--config", "nowhere.yaml"], "Cannot read nowhere.yaml"),
        (["train", "--data", "{data}", "--run", "{run}"], "already holds a run"),
        (["train", "--data", "{data}", "--run", "{run}", "--resume", *CHANGED], "has another config"),
        (["train", "--set", "train.epoch=3"], "Did you mean train.epochs?"),
        (["train", "--set", "train.min_size=199"], "train: min_size 199 is larger than max_size 160."),
        (["train", "--data", "{data}", "--set", "model.arch=vgg16", *FEW], "There is no network 'vgg16'"),
        (["train", "--data", "{data}", "--set", "model.arch=timm:resnet19", *FEW], "timm has no network 'resnet19'"),
        (["train", "--data", "{data}", "--set", "model.weights=none.pt", *FEW], "There is no weights file none.pt."),
        (
            ["train", "--config", "tiny"],
            "There is no config 'tiny': name a file or one of default, scratch,",
        ),
        (["train", "--config", "smal"], "Did you mean small?"),
        (["train", "--config", "{run}/last.pt"], "is not YAML"),
    ],
)
def test_a_mistake_of_the_user_exits_2_with_one_sentence(
    data: Path,
    run: Path,
    arguments: list[str],
    sentence: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["catsdogs", *(word.format(data=data, run=run) for word in arguments)])
    with pytest.raises(SystemExit) as stopped:
        catsdogs.main()
    out, err = capsys.readouterr()
    assert (stopped.value.code, out) == (2, "")
    assert err.startswith("catsdogs: ")
    assert sentence in err
    assert err.count("\n") == 1


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


def test_a_broken_checkpoint_exits_2_with_one_sentence(
    data: Path, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = shutil.copytree(run, tmp_path / "run")
    for content in (b"garbage", (run / "last.pt").read_bytes()[:5000]):
        (copy / "last.pt").write_bytes(content)
        err = told(monkeypatch, capsys, "train", "--data", data, "--run", copy, "--resume")
        assert "last.pt is not a checkpoint of catsdogs" in err


def test_a_loss_that_is_no_longer_a_number_exits_2_with_one_sentence(
    few: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    much = settings([*TINY, "train.learning_rate=1e38"])
    err = told(monkeypatch, capsys, "train", "--data", few / "data", "--run", tmp_path / "run", *much)
    assert "The loss is no longer a number in epoch 1" in err


def test_a_full_disk_exits_2_with_one_sentence_and_the_checkpoint_stays_whole(
    few: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    saved, fsync, last = list[bytes](), os.fsync, tmp_path / "run" / "last.pt"

    def full(descriptor: int) -> None:
        # A stand-in for the disk: once there is a last.pt, nothing as large as another one fits.
        if last.exists() and os.fstat(descriptor).st_size > 300_000:
            saved.append(last.read_bytes())
            raise OSError(28, "No space left on device")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    err = told(monkeypatch, capsys, "train", "--data", few / "data", "--run", tmp_path / "run", *settings(TINY))
    assert "No space left on device" in err
    assert [last.read_bytes()] == saved
    assert load_checkpoint(last).epoch == 1
    assert sorted(path.name for path in last.parent.iterdir()) == FILES


def test_a_network_of_timm_without_timm_exits_2_with_what_to_install(
    few: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    overrides = settings([*TINY, "model.arch=timm:tf_efficientnet_lite0"])
    err = told(monkeypatch, capsys, "train", "--data", few / "data", "--run", tmp_path / "run", *overrides)
    assert "timm:tf_efficientnet_lite0 needs timm, which is not installed: pip install" in err


@pytest.mark.parametrize(("split", "total"), [("60/20/30", 110), ("80/10/5", 95)])
def test_percentages_that_do_not_add_up_to_100_exit_2_with_their_sum(
    pictures: Path, split: str, total: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["catsdogs", "prepare", str(pictures / "web"), "--split", split])
    with pytest.raises(SystemExit) as stopped:
        catsdogs.main()
    assert stopped.value.code == 2
    assert f"the parts of {split} add up to {total}, not to 100" in capsys.readouterr().err


@pytest.mark.parametrize("split", ["80/10", "most/some/few", "80-10-10", "80/10/10/10"])
def test_a_split_that_is_not_three_numbers_exits_2_with_an_example(
    pictures: Path, split: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["catsdogs", "prepare", str(pictures / "web"), "--split", split])
    with pytest.raises(SystemExit) as stopped:
        catsdogs.main()
    assert stopped.value.code == 2
    assert "three whole numbers, for example 80/10/10" in capsys.readouterr().err


def test_the_command_itself_answers_a_mistake_without_a_traceback(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "catsdogs", "package", "nowhere"], cwd=tmp_path, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout, done.stderr) == (2, "", "catsdogs: nowhere/release.json is missing.\n")


@pytest.mark.slow
def test_ctrl_c_keeps_the_last_whole_epoch_and_says_how_to_go_on(data: Path, run: Path, tmp_path: Path) -> None:
    # A shell without job control starts background jobs deaf to Ctrl-C, and pytest may be one.
    code = "import catsdogs, signal; signal.signal(signal.SIGINT, signal.default_int_handler); catsdogs.main()"
    mine = tmp_path / "run"
    arguments: list[str | Path] = [
        "--config",
        run / "config.yaml",
        "--set",
        "train.epochs=1000",
        "--data",
        data,
        "--run",
        mine,
    ]
    process = subprocess.Popen(
        [sys.executable, "-c", code, "train", *arguments],
        env={**os.environ, "COLUMNS": "200"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        first = next(line for line in process.stdout if line.startswith("epoch"))
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert first.startswith("epoch   1/1000")
    assert process.returncode == 130
    *notes, last = err.splitlines()
    assert last == f"catsdogs: Stopped. Go on by: catsdogs train --data {data} --run {mine} --resume"
    assert all("pictures are few" in note for note in notes)
    assert load_checkpoint(mine / "last.pt").epoch >= 1
