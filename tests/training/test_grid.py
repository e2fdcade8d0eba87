"""The grid of a sweep, and the folds of a cross-validation."""

import signal
from collections import Counter
from pathlib import Path
from unittest import mock

import pytest

from handler.files import UserError
from training.data import manifest as manifests
from training.data.manifest import Manifest, Picture
from training.experiments.folds import make_folds, write_fold
from training.experiments.grid import make_grid
from training.experiments.processes import Job, train_all


def test_a_grid_has_every_combination_of_the_values_and_the_single_values_in_all_of_them() -> None:
    grid = make_grid(["train.learning_rate=0.05,0.1", "train.epochs=2", "train.weight_decay=0,0.0005"])
    assert [point.name for point in grid] == [
        "learning_rate-0.05_weight_decay-0",
        "learning_rate-0.05_weight_decay-0.0005",
        "learning_rate-0.1_weight_decay-0",
        "learning_rate-0.1_weight_decay-0.0005",
    ]
    assert grid[1].overrides == ["train.learning_rate=0.05", "train.epochs=2", "train.weight_decay=0.0005"]
    assert grid[1].values == {"train.learning_rate": "0.05", "train.weight_decay": "0.0005"}


def test_a_runs_name_in_a_tracker_holds_every_value_that_varies() -> None:
    point = make_grid(["train.learning_rate=0.05,0.1", "train.weight_decay=0,0.0005"])[3]
    assert point.name_in_tracker("resnet18_lr0.1") == "resnet18_lr0.1_weight_decay0.0005"


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (["train.epochs=2"], "several values"),
        (["train.epochs"], "'train.epochs'"),
        (["epochs=2,3"], "'epochs=2,3'"),
        (["train.epochs=2", "train.epochs=3"], "set twice"),
        (["model.weights=a/b,a b"], "same name"),
    ],
)
def test_a_grid_that_is_none_is_refused_with_the_reason(settings: list[str], said: str) -> None:
    with pytest.raises(UserError, match=said):
        make_grid(settings)


def test_a_run_is_stopped_by_its_sweep_alone_and_not_by_the_terminal_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process inherits the signals that are held back as it is started."""
    blocked: list[set[int]] = []

    def start(*_: object, **__: object) -> mock.Mock:
        blocked.append({int(number) for number in signal.pthread_sigmask(signal.SIG_BLOCK, [])})
        return mock.Mock(poll=lambda: 1, returncode=1)

    monkeypatch.setattr("subprocess.Popen", mock.MagicMock(side_effect=start))
    train_all([Job("a", tmp_path / "a", [])], 1, {}, lambda outcome: None)
    assert [signal.SIGINT in each for each in blocked] == [True]
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, [])


def manifest_of(groups: int, pictures_per_group: int = 2) -> Manifest:
    """Pictures of two classes in groups of near-duplicates, and one group of each class for test."""
    pictures = [
        Picture(
            f"{label}/{group}-{number}.jpg",
            label,
            "val" if group % 4 else "train",
            f"{label}{group}{number}",
            f"{label}{group}",
            9,
            9,
        )
        for label in ("cat", "dog")
        for group in range(groups)
        for number in range(pictures_per_group)
    ]
    tested = [Picture(f"{label}/t.jpg", label, "test", f"{label}t", f"{label}t", 9, 9) for label in ("cat", "dog")]
    return Manifest(Path("pictures"), [*pictures, *tested], "0" * 64)


def test_each_picture_is_in_val_once_with_its_near_duplicates_and_test_pictures_stay_tested() -> None:
    manifest = manifest_of(10)
    folds = make_folds(manifest, 5, seed=0)
    times = Counter(picture.path for fold in folds for picture in fold if picture.split == "val")
    assert times == {picture.path: 1 for picture in manifest.pictures if picture.split != "test"}
    for fold in folds:
        sides: dict[str, set[str]] = {}
        for picture in fold:
            sides.setdefault(picture.group, set()).add(picture.split)
        assert all(len(splits) == 1 for splits in sides.values())
        assert {picture.path for picture in fold if picture.split == "test"} == {"cat/t.jpg", "dog/t.jpg"}
        assert Counter(picture.label for picture in fold if picture.split == "val") == {"cat": 4, "dog": 4}


def test_the_same_seed_makes_the_same_folds() -> None:
    assert make_folds(manifest_of(10), 5, seed=3) == make_folds(manifest_of(10), 5, seed=3)
    assert make_folds(manifest_of(10), 5, seed=3) != make_folds(manifest_of(10), 5, seed=4)


def test_a_class_with_fewer_groups_than_folds_is_named() -> None:
    with pytest.raises(UserError, match="cat has 4"):
        make_folds(manifest_of(4), 5, seed=0)


def test_a_folds_manifest_is_read_as_any_other(few: Manifest, tmp_path: Path) -> None:
    fold = make_folds(few, 3, seed=0)[0]
    write_fold(few, fold, tmp_path)
    read = manifests.read(tmp_path)
    assert read.pictures == fold
    assert read.root == few.root
