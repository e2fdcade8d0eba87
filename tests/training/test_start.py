"""A run that starts from other weights."""

from pathlib import Path

import pytest
import torch

from handler.files import sha256_file
from tests.training.train_support import (
    tiny,
)
from training.data.manifest import Manifest
from training.learning.checkpoint import load_checkpoint
from training.learning.model import build
from training.learning.train import train


@pytest.mark.usefixtures("quick")
def test_training_starts_from_the_weights_that_the_config_names(few: Manifest, tmp_path: Path) -> None:
    train(tiny("train.epochs=1"), few, tmp_path / "first")
    trained = load_checkpoint(tmp_path / "first" / "best.pt").ema
    torch.save(trained, tmp_path / "start.pt")
    train(
        tiny("train.epochs=1", "train.learning_rate=1e-9", f"model.weights={tmp_path / 'start.pt'}", "train.seed=7"),
        few,
        tmp_path / "run",
    )
    tuned = load_checkpoint(tmp_path / "run" / "last.pt").ema
    kernel = "backbone.blocks.0.weight"
    torch.testing.assert_close(tuned[kernel], trained[kernel], rtol=0, atol=1e-6)


@pytest.mark.usefixtures("quick")
def test_a_run_goes_on_from_another_ones_averaged_weights_and_says_so(few: Manifest, tmp_path: Path) -> None:
    first = tmp_path / "first" / "best.pt"
    train(tiny("train.epochs=1"), few, first.parent)
    still = ("train.epochs=1", "train.learning_rate=1e-9", "train.seed=7", f"model.weights={first}")
    train(tiny(*still), few, tmp_path / "run")
    start, tuned = load_checkpoint(first), load_checkpoint(tmp_path / "run" / "last.pt")
    kernel = "backbone.blocks.0.weight"
    torch.testing.assert_close(tuned.ema[kernel], start.ema[kernel], rtol=0, atol=1e-6)
    assert tuned.start == {
        "sha256": sha256_file(first),
        "manifest_sha256": few.sha256,
        "epochs": 1,
        "config": start.config,
        "git_sha": start.git_sha,
        "teacher": None,
        "start": None,
    }


@pytest.mark.usefixtures("quick")
def test_what_was_learnt_of_a_teacher_comes_along(few: Manifest, tmp_path: Path) -> None:
    torch.save(build("baseline", 5).backbone.state_dict(), tmp_path / "teacher.pt")
    taught = ("train.epochs=1", "distill.teacher=baseline", f"distill.teacher_weights={tmp_path / 'teacher.pt'}")
    first = tmp_path / "first" / "best.pt"
    train(tiny(*taught), few, first.parent)
    still = (*taught, "train.learning_rate=1e-9", "train.seed=7", f"model.weights={first}")
    train(tiny(*still), few, tmp_path / "run")
    start, tuned = load_checkpoint(first), load_checkpoint(tmp_path / "run" / "last.pt")
    torch.testing.assert_close(tuned.model["second.weight"], start.model["second.weight"], rtol=0, atol=1e-6)
    train(tiny("train.epochs=1", f"model.weights={first}"), few, tmp_path / "alone")
    assert "second.weight" not in load_checkpoint(tmp_path / "alone" / "last.pt").model
