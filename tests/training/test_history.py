"""The history of a run, and the patience that follows from it."""

from pathlib import Path

import pytest

from tests.training.train_support import (
    tiny,
)
from training.data.manifest import Manifest
from training.learning import train as train_module
from training.learning.checkpoint import load_checkpoint
from training.learning.history import EpochLine, gone_stale
from training.learning.train import train


def rows(*accuracies: float) -> list[EpochLine]:
    return [EpochLine(epoch + 1, 32, 1, 1, accuracy, 1, 1) for epoch, accuracy in enumerate(accuracies)]


@pytest.mark.parametrize(
    ("accuracies", "patience", "stale"),
    [
        ((), 2, False),
        ((0.5, 0.6, 0.6), 2, False),
        ((0.5, 0.6, 0.6, 0.6), 2, True),
        ((0.6, 0.5, 0.4), 2, True),
        ((0.6, 0.5, 0.7), 2, False),
        ((0.6, 0.5, 0.4, 0.3), 0, False),
    ],
)
def test_a_run_is_stale_when_its_best_epoch_is_so_old(
    accuracies: tuple[float, ...], patience: int, stale: bool
) -> None:
    assert gone_stale(rows(*accuracies), patience) is stale


@pytest.mark.usefixtures("quick")
def test_a_run_without_patience_left_ends_early_and_does_not_go_on_when_it_is_resumed(
    few: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A third, in decimals, is smaller than it is.
    monkeypatch.setattr(train_module, "validate", lambda *arguments: (0.5, 1 / 3))
    config = tiny("train.epochs=9", "train.patience=2")
    for resume in (False, True):
        best = train(config, few, tmp_path / "run", resume=resume)
        assert load_checkpoint(best).epoch == 1
        assert load_checkpoint(tmp_path / "run" / "last.pt").epoch == 3
