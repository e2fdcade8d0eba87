"""A run that goes on: what it goes on with, and what it refuses."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from handler.files import UserError
from tests.training.train_support import (
    assert_equal_weights,
    changed,
    history,
    tiny,
)
from training import config as configs
from training.config import Config
from training.data import manifest as manifests
from training.data.manifest import Manifest
from training.data.prepare import prepare
from training.learning import train as train_module
from training.learning.checkpoint import load_checkpoint, save_checkpoint
from training.learning.train import train

Folders = Callable[..., Path]


FILES = ["best.pt", "config.yaml", "curves.png", "history.csv", "last.pt"]


class Kill(BaseException):
    """At the place where it is raised, a run ends as by a signal."""


def kill_in(epoch: int, step: int = 1) -> Callable[[int, int, int, float], None]:
    def on_step(now: int, done: int, steps: int, rate: float) -> None:
        if (now, done) == (epoch, step):
            raise Kill

    return on_step


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    "overrides",
    [
        (),
        ("train.optimizer=adamw",),
        ("train.optimizer=adam", "train.mixup=0.4", "train.erasing=0.5"),
        ("model.freeze_backbone=true",),
        ("model.arch=mobilenet_v2",),  # draws random numbers of its own, for dropout
        # Scales its gradients, and is slow on a processor.
        pytest.param(("train.amp=fp16",), marks=pytest.mark.slow),
        pytest.param(("model.arch=resnet18",), marks=pytest.mark.slow),
        ("train.decoded_side=32",),
    ],
)
def test_a_killed_run_that_is_resumed_ends_with_the_same_weights_and_history(
    few: Manifest, tmp_path: Path, overrides: tuple[str, ...]
) -> None:
    config, whole, killed = tiny(*overrides), tmp_path / "whole", tmp_path / "killed"
    train(config, few, whole)
    for epoch in (1, 2):
        with pytest.raises(Kill):
            train(config, few, killed, resume=True, on_step=kill_in(epoch, step=3))
        assert load_checkpoint(killed / "last.pt").epoch == epoch
    train(config, few, killed, resume=True)
    assert_equal_weights(killed, whole)
    assert_equal_weights(killed, whole, "best.pt")
    columns = ("epoch", "size", "train_loss", "val_loss", "val_accuracy")
    ours, others = ([[row[name] for name in columns] for row in history(folder)] for folder in (killed, whole))
    assert ours == others


@pytest.mark.usefixtures("quick")
def test_a_later_epoch_that_is_as_good_is_not_better_after_a_resume_either(
    few: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A third, in decimals, is smaller than it is.
    monkeypatch.setattr(train_module, "validate", lambda *arguments: (0.5, 1 / 3))
    with pytest.raises(Kill):
        train(tiny(), few, tmp_path / "run", on_step=kill_in(1))
    train(tiny(), few, tmp_path / "run", resume=True)
    assert load_checkpoint(tmp_path / "run" / "last.pt").epoch == 3
    assert load_checkpoint(tmp_path / "run" / "best.pt").epoch == 1


@pytest.mark.usefixtures("quick")
def test_a_run_killed_in_its_first_epoch_leaves_nothing_that_is_in_the_way(few: Manifest, tmp_path: Path) -> None:
    with pytest.raises(Kill):
        train(tiny(), few, tmp_path / "run", on_step=kill_in(0))
    assert not (tmp_path / "run" / "last.pt").exists()
    best = train(tiny("train.epochs=1"), few, tmp_path / "run")
    assert best == tmp_path / "run" / "best.pt"
    assert load_checkpoint(best).epoch == 1


@pytest.mark.usefixtures("quick")
def test_a_run_that_is_stopped_before_its_first_step_has_its_config_already(few: Manifest, tmp_path: Path) -> None:
    def stop(what: str, done: int, total: int) -> None:
        raise Kill

    config = tiny("model.freeze_backbone=true")
    with pytest.raises(Kill):
        train(config, few, tmp_path / "run", on_work=stop)
    assert configs.load(tmp_path / "run" / "config.yaml") == config


def test_a_finished_run_that_is_resumed_stays_as_it_is(
    run: Path, manifest: Manifest, small_config: Config, tmp_path: Path
) -> None:
    copy = shutil.copytree(run, tmp_path / "run")
    assert train(small_config, manifest, copy, resume=True) == copy / "best.pt"
    assert {name: (copy / name).read_bytes() for name in FILES} == {name: (run / name).read_bytes() for name in FILES}


def test_a_finished_run_that_is_resumed_says_so_and_how_to_train_on(
    data: Path, run: Path, tmp_path: Path, invoke: Callable[..., str]
) -> None:
    copy = shutil.copytree(run, tmp_path / "run")
    output = " ".join(invoke("train", "--data", data, "--run", copy, "--resume").split())
    assert f"The run in {copy} is finished after 4 epochs and stays as it is." in output
    assert f"--run {copy}-2 --set model.weights={copy}/best.pt" in output
    assert "--set train.epochs=N" in output


@pytest.mark.parametrize("damage", ["missing", "cut", "empty"])
def test_a_run_without_its_whole_history_is_refused_in_one_sentence(
    run: Path, manifest: Manifest, small_config: Config, tmp_path: Path, damage: str
) -> None:
    copy = shutil.copytree(run, tmp_path / "run")
    lines = (copy / "history.csv").read_text().splitlines()
    (copy / "history.csv").write_text({"cut": "\n".join(lines[:2]), "empty": "", "missing": ""}[damage])
    if damage == "missing":
        (copy / "history.csv").unlink()
    with pytest.raises(UserError, match=r"history\.csv"):
        train(small_config, manifest, copy, resume=True)


def test_a_broken_checkpoint_is_not_gone_on_from(
    run: Path, manifest: Manifest, small_config: Config, tmp_path: Path
) -> None:
    copy = shutil.copytree(run, tmp_path / "run")
    (copy / "last.pt").write_bytes((copy / "last.pt").read_bytes()[:1000])
    with pytest.raises(UserError, match=r"last\.pt is not a checkpoint of catsdogs"):
        train(small_config, manifest, copy, resume=True)


def test_a_run_is_not_overwritten(run: Path, manifest: Manifest, small_config: Config) -> None:
    with pytest.raises(UserError, match=r"already holds a run\. Go on with it by --resume, or choose another --run\."):
        train(small_config, manifest, run)


def test_a_run_does_not_go_on_with_other_pictures(
    run: Path, small_config: Config, class_folders: Folders, tmp_path: Path
) -> None:
    manifests.write(prepare([class_folders(tmp_path / "a", 40, first_seed=900)]), tmp_path / "data")
    before = (run / "config.yaml").read_bytes()
    with pytest.raises(UserError, match="trained on another manifest"):
        train(small_config, manifests.read(tmp_path / "data"), run, resume=True)
    assert (run / "config.yaml").read_bytes() == before


def test_a_run_does_not_go_on_with_another_config(run: Path, manifest: Manifest, small_config: Config) -> None:
    before = (run / "config.yaml").read_bytes()
    with pytest.raises(UserError, match="has another config; leave out --config and --set"):
        train(changed(small_config, epochs=9), manifest, run, resume=True)
    other = configs.load(run / "config.yaml", ["model.arch=mobilenet_v2"])
    with pytest.raises(UserError, match="has another config"):
        train(other, manifest, run, resume=True)
    assert (run / "config.yaml").read_bytes() == before


@pytest.mark.usefixtures("quick")
def test_auto_becomes_numbers_in_what_a_run_writes_down_and_the_same_command_goes_on(
    few: Manifest, tmp_path: Path
) -> None:
    config = tiny("train.batch_size=auto", "train.learning_rate=0.16")
    with pytest.raises(Kill):
        train(config, few, tmp_path / "run", on_step=kill_in(1))
    own = configs.load(tmp_path / "run" / "config.yaml")
    assert (own.train.batch_size, own.train.learning_rate) == (8, 0.01)
    assert load_checkpoint(tmp_path / "run" / "last.pt").config == own.model_dump(mode="json")
    train(config, few, tmp_path / "run", resume=True)
    train(own, few, tmp_path / "run", resume=True)
    assert load_checkpoint(tmp_path / "run" / "last.pt").epoch == 3


@pytest.mark.usefixtures("quick")
def test_a_run_from_before_a_key_was_there_goes_on(few: Manifest, tmp_path: Path) -> None:
    with pytest.raises(Kill):
        train(tiny(), few, tmp_path / "run", on_step=kill_in(1))
    checkpoint = load_checkpoint(tmp_path / "run" / "last.pt")
    del checkpoint.config["train"]["sampler"], checkpoint.config["train"]["class_weights"]
    save_checkpoint(checkpoint, tmp_path / "run" / "last.pt")
    train(tiny(), few, tmp_path / "run", resume=True)
    assert load_checkpoint(tmp_path / "run" / "last.pt").epoch == 3


@pytest.mark.usefixtures("quick")
def test_a_run_that_has_diverged_ends_with_a_sentence_and_so_does_its_resumption(
    few: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train_module, "validate", lambda *arguments: (3e6, 0.5))
    for _ in range(2):
        with pytest.raises(UserError, match=r"^The run has diverged: .* 3e\+06 after 5 of 9 epochs"):
            train(tiny("train.epochs=9"), few, tmp_path / "run", resume=True)
        assert load_checkpoint(tmp_path / "run" / "last.pt").epoch == 5
