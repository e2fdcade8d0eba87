"""Training pictures made worse: what each change does, how often, and that a seed fixes it."""

import hashlib
import io
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from handler.preprocess import Pixels
from training import config as configs
from training.data import degrade as module
from training.data.degrade import CHANGES, Change, degrade
from training.data.loaders import TrainPictures
from training.data.manifest import Picture
from training.data.sampler import Sample

Photo = Callable[..., Image.Image]
SIZE = 96
changes = pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__.strip("_"))


@pytest.fixture
def square(photo: Photo) -> Pixels:
    return np.asarray(photo(1, size=(SIZE, SIZE)))


def detail(pixels: Pixels) -> float:
    """Mean distance of neighbours in a row, in grey levels."""
    return float(np.abs(np.diff(pixels.astype(float), axis=1)).mean())


@changes
def test_a_change_leaves_a_square_of_bytes_and_the_picture_it_was_given(square: Pixels, change: Change) -> None:
    before = square.copy()
    for seed in range(20):
        changed = change(square, random.Random(seed))
        assert changed.shape == (SIZE, SIZE, 3)
        assert changed.dtype == np.uint8
        assert not np.array_equal(changed, square)
    assert np.array_equal(square, before)


@changes
@pytest.mark.parametrize("size", [32, 33, 224])
def test_a_change_fits_any_size_that_a_config_may_name(photo: Photo, change: Change, size: int) -> None:
    pixels = np.asarray(photo(1, size=(size, size)))
    assert {change(pixels, random.Random(seed)).shape for seed in range(20)} == {(size, size, 3)}


@changes
def test_a_seed_fixes_a_change(square: Pixels, change: Change) -> None:
    assert np.array_equal(change(square, random.Random(3)), change(square, random.Random(3)))
    assert len({change(square, random.Random(seed)).tobytes() for seed in range(12)}) > 1


@pytest.mark.parametrize(("change", "sharper"), [(module._blur, False), (module._small, False), (module._noise, True)])
def test_blur_and_smallness_take_detail_and_noise_adds_it(square: Pixels, change: Change, sharper: bool) -> None:
    details = [detail(change(square, random.Random(seed))) for seed in range(20)]
    assert all((changed > detail(square)) == sharper for changed in details)


def test_a_quarter_turn_goes_either_way(square: Pixels) -> None:
    turned = {module._quarter_turn(square, random.Random(seed)).tobytes() for seed in range(20)}
    assert turned == {np.rot90(square).tobytes(), np.rot90(square, 3).tobytes()}


def test_a_squeeze_keeps_the_picture_between_black_bars() -> None:
    white = np.full((SIZE, SIZE, 3), 255, np.uint8)
    shares = []
    for seed in range(50):
        squeezed = module._squeeze(white, random.Random(seed))
        assert set(np.unique(squeezed)) == {0, 255}
        shares.append(squeezed.mean() / 255)
    assert min(shares) >= module.SQUEEZED[0] - 1 / SIZE
    assert max(shares) <= module.SQUEEZED[1] + 1 / SIZE


def test_a_rectangle_of_one_colour_hides_a_part(square: Pixels) -> None:
    grey = 0
    for seed in range(50):
        hidden = module._hide(square, random.Random(seed))
        rows, columns = np.nonzero((hidden != square).any(axis=2))
        part = hidden[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
        assert len(np.unique(part.reshape(-1, 3), axis=0)) == 1
        assert all(side <= module.HIDDEN[1] * SIZE + 1 for side in part.shape[:2])
        grey += int((part == 128).all())
    assert 10 <= grey <= 40


def test_each_change_is_drawn_as_often_as_the_others(square: Pixels, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[int] = []

    def numbered(number: int) -> Change:
        def change(pixels: Pixels, rng: random.Random) -> Pixels:
            drawn.append(number)
            return pixels

        return change

    monkeypatch.setattr(module, "CHANGES", tuple(map(numbered, range(len(CHANGES)))))
    for seed in range(600):
        degrade(square, random.Random(seed))
    # Four standard deviations of a binomial of 600.
    assert [drawn.count(number) for number in range(len(CHANGES))] == pytest.approx([100] * len(CHANGES), abs=37)


@pytest.mark.parametrize(("share", "wanted"), [("0", 0), ("0.25", 50), ("1", 200)])
def test_a_config_says_which_share_of_the_pictures_is_degraded(
    photo: Photo, tmp_path: Path, share: str, wanted: int
) -> None:
    buffer = io.BytesIO()
    photo(1).save(buffer, "PNG")
    (tmp_path / "one").write_bytes(buffer.getvalue())
    picture = Picture("one", "cat", "train", hashlib.sha256(buffer.getvalue()).hexdigest(), "", 0, 0)

    def crops(*overrides: str) -> TrainPictures:
        return TrainPictures(tmp_path, [picture], ["cat", "dog"], configs.load(overrides=overrides).train)

    samples = [Sample(0, seed, 48, -1) for seed in range(200)]
    as_they_are = crops().__getitems__(samples)[0]
    worse = crops(f"train.degraded={share}").__getitems__(samples)[0]
    changed = int((as_they_are != worse).flatten(1).any(1).sum())
    assert changed == pytest.approx(wanted, abs=25 if 0 < wanted < 200 else 0)
