"""A split that the user made: near-duplicates across it, and the previous manifest."""

from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from training.data import manifest
from training.data.prepare import prepare

Invoke = Callable[..., str]


Photo = Callable[..., Image.Image]


Grow = Callable[..., Path]


@pytest.fixture
def crossed(grow: Grow, photo: Photo) -> Path:
    """A split of which a test picture's smaller twin, and a val picture's, stand in train."""
    root = grow(*(f"{side}/{label}" for side in ("train", "val", "test") for label in ("rose", "tulip")))
    for seed, side in ((500, "test"), (501, "val")):
        photo(seed, size=(320, 240)).save(root / side / "rose" / "original.jpg", quality=95)
        photo(seed).save(root / "train" / "rose" / f"copy-of-{side}.jpg")
    return root


def test_near_duplicates_of_tested_pictures_leave_training(crossed: Path, tmp_path: Path, invoke: Invoke) -> None:
    output = invoke("prepare", crossed, "--out", tmp_path / "data", "--no-contact")
    rows = {row.path: row.split for row in manifest.read(tmp_path / "data").pictures}
    assert (rows["test/rose/original.jpg"], rows["val/rose/original.jpg"]) == ("test", "val")
    assert not any("copy" in path for path in rows)
    assert len(rows) == 20
    assert (tmp_path / "data" / "quarantine.csv").read_text().splitlines()[1:] == [
        "train/rose/copy-of-test.jpg,near_duplicate: nearly the same picture is for test: test/rose/original.jpg",
        "train/rose/copy-of-val.jpg,near_duplicate: nearly the same picture is for val: val/rose/original.jpg",
    ]
    assert (
        "Near-duplicates in different splits: 2, for example train/rose/copy-of-test.jpg (train) and "
        "test/rose/original.jpg (test). They were set aside; --keep-near-duplicates keeps them."
    ) in output
    assert "By reason: near_duplicate 2." in output


def test_near_duplicates_may_stay_in_the_users_split(crossed: Path, tmp_path: Path, invoke: Invoke) -> None:
    output = invoke("prepare", crossed, "--out", tmp_path / "data", "--no-contact", "--keep-near-duplicates")
    rows = {row.path: row.split for row in manifest.read(tmp_path / "data").pictures}
    assert all(path.startswith(f"{side}/") for path, side in rows.items())
    assert len(rows) == 22
    assert "Near-duplicates in different splits: 2" in output
    assert "They stay there." in output


def test_a_val_picture_like_a_tested_one_leaves_val(grow: Grow, photo: Photo) -> None:
    root = grow(*(f"{side}/{label}" for side in ("train", "val", "test") for label in ("rose", "tulip")))
    for side in ("val", "test"):
        photo(500).save(root / side / "rose" / "same.jpg")
    (row,) = prepare([root]).quarantine
    assert row.path == "val/rose/same.jpg"


def test_the_users_split_wins_over_the_previous_manifest(grow: Grow) -> None:
    root = grow(*(f"{side}/{label}" for side in ("train", "val", "test") for label in ("rose", "tulip")))
    first = prepare([root])
    (root / "train" / "rose" / "0.jpg").rename(root / "test" / "rose" / "moved.jpg")
    second = prepare([root], previous={row.sha256: row.split for row in first.pictures})
    (move,) = second.moves
    assert (move.path, move.before, move.after) == ("test/rose/moved.jpg", "train", "test")
    assert move.why == "stands in your own split for test"


def test_pictures_taken_from_train_stay_where_they_are_when_others_are_added(grow: Grow) -> None:
    root = grow("train/rose", "train/tulip", count=20)
    grow("test/rose", "test/tulip")
    before = {row.sha256: row.split for row in prepare([root]).pictures}
    grow("train/more roses", count=20)
    for number, path in enumerate(sorted((root / "train" / "more roses").iterdir())):
        path.rename(root / "train" / "rose" / f"more-{number}.jpg")
    (root / "train" / "more roses").rmdir()
    after = {row.sha256: row.split for row in prepare([root], previous=before).pictures}
    assert len(after) == len(before) + 20
    assert before.items() <= after.items()
