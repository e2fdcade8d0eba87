import dataclasses
import hashlib
import io
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from handler.preprocess import InputSpec, Pixels, decode
from training import config as configs
from training.config import TrainConfig
from training.data.loaders import (
    TrainPictures,
    cut,
    erase,
    light,
    random_box,
    view_box,
)
from training.data.manifest import Manifest, Picture
from training.data.pictures import open_upright
from training.data.sampler import Sample

Photo = Callable[..., Image.Image]
# Each off; a test turns on what it is about.
PLAIN = ("train.flip=false", "train.color=0", "train.erasing=0", "train.min_area=1")


def encoded(image: Image.Image, form: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def recipe(*overrides: str) -> TrainConfig:
    return configs.load(overrides=overrides).train


def one_row(pictures: TrainPictures, sample: Sample) -> tuple[Pixels, int, int, int]:
    pixels, labels, indices, views = pictures.__getitems__([sample])
    return pixels[0].numpy(), int(labels[0]), int(indices[0]), int(views[0])


class SinglePicture:
    """The training set of a single picture, kept in a file."""

    def __init__(self, folder: Path, data: bytes, *overrides: str) -> None:
        (folder / "one").write_bytes(data)
        picture = Picture("one", "cat", "train", hashlib.sha256(data).hexdigest(), "", 0, 0)
        self.pictures = TrainPictures(folder, [picture], ["cat", "dog"], recipe(*overrides))

    def __call__(self, seed: int, size: int = 48, view: int = -1) -> Pixels:
        return one_row(self.pictures, Sample(0, seed, size, view))[0]


def test_a_seed_always_gives_the_same_pixels(photo: Photo, tmp_path: Path) -> None:
    crop_of = SinglePicture(tmp_path, encoded(photo(1)), "train.erasing=1", "train.color=0.5")
    assert np.array_equal(crop_of(7), crop_of(7))


def test_other_seeds_give_other_pixels(photo: Photo, tmp_path: Path) -> None:
    crop_of = SinglePicture(tmp_path, encoded(photo(1)))
    assert len({crop_of(seed).tobytes() for seed in range(20)}) == 20


def test_with_every_augmentation_off_a_picture_is_only_scaled(photo: Photo, tmp_path: Path) -> None:
    square = photo(1, size=(60, 60))
    crop_of = SinglePicture(tmp_path, encoded(square), *PLAIN)
    # Of the aspects 3/4 to 4/3 only 1 fits into a square at its whole area, so the crop is all of it.
    assert {crop_of(seed).tobytes() for seed in range(5)} == {cut(np.asarray(square), (0, 0, 60, 60), 48).tobytes()}


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "P", "CMYK", "1"])
@pytest.mark.parametrize("size", [32, 80])
def test_a_crop_is_a_square_of_rgb_bytes_whatever_the_pictures_mode(
    photo: Photo, tmp_path: Path, mode: str, size: int
) -> None:
    pixels = SinglePicture(tmp_path, encoded(photo(1).convert(mode), "TIFF"), "train.erasing=1")(0, size)
    assert pixels.shape == (size, size, 3)
    assert pixels.dtype == np.uint8


@pytest.mark.parametrize("size", [(1, 1), (400, 3), (3, 400)])
def test_pictures_of_extreme_shapes_are_cropped_too(photo: Photo, tmp_path: Path, size: tuple[int, int]) -> None:
    crop_of = SinglePicture(tmp_path, encoded(photo(1, size=size)))
    assert {crop_of(seed).shape for seed in range(10)} == {(48, 48, 3)}


@pytest.mark.parametrize(("flip", "wanted"), [("true", 100), ("false", 0)])
def test_half_of_the_pictures_are_mirrored_or_none(tmp_path: Path, flip: str, wanted: int) -> None:
    ramp = encoded(Image.fromarray(np.tile(np.arange(0, 250, 2, dtype=np.uint8), (125, 1))))
    crop_of = SinglePicture(tmp_path, ramp, f"train.flip={flip}")
    mirrored = sum(int(pixels[:, 0].mean() > pixels[:, -1].mean()) for pixels in map(crop_of, range(200)))
    # Four standard deviations of a binomial of 200.
    assert mirrored == pytest.approx(wanted, abs=28 if wanted else 0)


@pytest.mark.parametrize("min_area", [0.2, 0.5, 0.9])
def test_a_crop_shows_min_area_to_all_of_the_picture_within_its_bounds_and_aspects(min_area: float) -> None:
    rng = random.Random(0)
    boxes = np.array([random_box(200, 160, min_area, rng) for _ in range(1000)])
    left, top, right, bottom = boxes.T
    areas, aspects = (right - left) * (bottom - top) / (200 * 160), (right - left) / (bottom - top)
    assert left.min() >= 0
    assert top.min() >= 0
    assert right.max() <= 200
    assert bottom.max() <= 160
    # Sides are whole pixels, so a small crop's area and aspect are a percent off.
    assert min_area - 0.01 <= areas.min() < min_area + 0.05
    assert areas.max() <= 1
    assert aspects.min() >= 0.99 * 3 / 4
    assert aspects.max() <= 1.01 * 4 / 3
    assert aspects.max() - aspects.min() > 0.1


def test_crops_reach_every_edge_of_a_picture() -> None:
    rng = random.Random(0)
    left, top, right, bottom = np.array([random_box(20, 16, 0.35, rng) for _ in range(500)]).T
    assert (left.min(), top.min(), right.max(), bottom.max()) == (0, 0, 20, 16)


def test_a_crop_is_cut_where_its_box_says() -> None:
    # Red counts columns and green counts rows.
    y, x = np.mgrid[0:200, 0:200]
    counting = np.stack([x, y, np.zeros_like(x)], axis=2).astype(np.uint8)
    pixels = cut(counting, (40, 100, 104, 164), 64)
    assert pixels[0, 0].tolist() == [40, 100, 0]
    assert pixels[-1, -1].tolist() == [103, 163, 0]


@pytest.mark.parametrize("size", [32, 64, 90, 128])
def test_a_crop_is_scaled_as_pillow_scales_it_for_the_server(photo: Photo, size: int) -> None:
    image, box = photo(1, size=(150, 160)), (7, 20, 107, 110)
    wanted = image.resize((size, size), Image.Resampling.BILINEAR, box=box)
    differences = np.abs(cut(np.asarray(image), box, size).astype(int) - np.asarray(wanted))
    assert differences.mean() < 0.1
    assert differences.max() <= 8


def test_colour_changes_brightness_contrast_and_tint_and_nothing_else(photo: Photo) -> None:
    original = np.asarray(photo(1)).astype(int)
    lit = np.stack([np.asarray(photo(1))] * 50)
    light(lit, 0.3, [random.Random(seed) for seed in range(50)])
    changes = list(lit.astype(int))
    means = np.array([changed.mean() for changed in changes])
    spreads = np.array([changed.std() for changed in changes])
    tints = np.array([changed[..., 0].mean() / changed[..., 2].mean() for changed in changes])
    for values, own in (
        (means, original.mean()),
        (spreads, original.std()),
        (tints, original[..., 0].mean() / original[..., 2].mean()),
    ):
        assert values.min() < own < values.max()
    # One table per channel: what was equally bright stays so.
    for changed in changes[:5]:
        for channel in range(3):
            for value in np.unique(original[..., channel])[::20]:
                assert len(np.unique(changed[..., channel][original[..., channel] == value])) == 1


def test_no_strength_of_colour_changes_nothing(photo: Photo) -> None:
    pixels = np.asarray(photo(1))[None].copy()
    light(pixels, 0, [random.Random(0)])
    assert np.array_equal(pixels[0], np.asarray(photo(1)))


def test_light_ends_at_black_and_white() -> None:
    both = np.zeros((20, 2, 2, 3), dtype=np.uint8)
    both[:, 0] = 255
    light(both, 1.5, [random.Random(seed) for seed in range(20)])
    assert (both[:, 0] >= both[:, 1]).all()
    assert (both[:, 0] == 255).any()
    assert (both[:, 1] == 0).any()


def test_a_picture_is_lit_alike_in_any_company(photo: Photo) -> None:
    alone, together = np.asarray(photo(1))[None].copy(), np.stack([np.asarray(photo(1))] * 21)
    light(alone, 0.3, [random.Random(17)])
    light(together, 0.3, [random.Random(seed) for seed in range(21)])
    assert np.array_equal(together[17], alone[0])


def test_erasing_makes_one_rectangle_of_2_to_25_percent_grey() -> None:
    shares = []
    for seed in range(200):
        pixels = np.full((64, 64, 3), 255, dtype=np.uint8)
        erase(pixels, random.Random(seed))
        erased = (pixels == 128).all(axis=2)
        rows, columns = (np.flatnonzero(erased.any(axis=axis)) for axis in (1, 0))
        assert erased[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].all()
        assert erased.sum() == len(rows) * len(columns)
        shares.append(erased.mean())
    # Sides are whole pixels.
    assert 0.015 < min(shares) < 0.04
    assert 0.2 < max(shares) < 0.26


@pytest.mark.parametrize(("erasing", "wanted", "tolerance"), [(0, 0, 0), (0.25, 50, 25), (1, 200, 0)])
def test_a_share_of_the_pictures_is_erased(tmp_path: Path, erasing: float, wanted: int, tolerance: int) -> None:
    white = encoded(Image.new("RGB", (40, 40), "white"))
    crop_of = SinglePicture(tmp_path, white, *PLAIN, f"train.erasing={erasing}")
    assert sum(bool((crop_of(seed) == 128).any()) for seed in range(200)) == pytest.approx(wanted, abs=tolerance)


def lying() -> bytes:
    """Stored lying on its side, as a phone does: bright on the left, which EXIF's 6 turns to the top."""
    stored = np.full((64, 64), 40, dtype=np.uint8)
    stored[:, :32] = 200
    exif = Image.Exif()
    exif[0x0112] = 6
    return encoded(Image.fromarray(stored).convert("RGB"), "JPEG", exif=exif, quality=95)


@pytest.mark.parametrize("view", [-1, 0])
def test_training_shows_a_picture_as_upright_as_evaluation_does(tmp_path: Path, view: int) -> None:
    data = lying()
    evaluated, trained = decode(data, InputSpec(48)), SinglePicture(tmp_path, data, *PLAIN)(0, view=view)
    assert evaluated[:20].mean() > evaluated[-20:].mean() + 100
    assert trained[:20].mean() > trained[-20:].mean() + 100


def test_a_fixed_view_follows_from_the_content_alone(manifest: Manifest) -> None:
    picture, another = manifest.pictures[:2]
    box = view_box(picture, 1, 200, 160, 0.35)
    assert box == view_box(dataclasses.replace(picture, path="renamed", label="dog", split="val"), 1, 200, 160, 0.35)
    assert len({box, view_box(picture, 0, 200, 160, 0.35), view_box(another, 1, 200, 160, 0.35)}) == 3


def test_a_sample_of_a_view_shows_its_box_whatever_its_seed(manifest: Manifest) -> None:
    chosen = manifest.split("train")
    pictures = TrainPictures(manifest.root, chosen, manifest.classes, recipe("train.flip=false", "train.color=0"))
    image = open_upright(manifest.root, chosen[2])
    wanted = cut(np.asarray(image), view_box(chosen[2], 3, *image.size, 0.35), 48)
    for seed in (1, 2):
        pixels, label, index, view = one_row(pictures, Sample(2, seed, 48, 3))
        assert np.array_equal(pixels, wanted)
        assert (manifest.classes[label], index, view) == (chosen[2].label, 2, 3)
