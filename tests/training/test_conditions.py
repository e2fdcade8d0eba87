"""Conditions of pictures: what each changes, and that it changes the same picture in the same way."""

import io
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from handler.load_image import upright
from handler.open_image import open_image
from handler.preprocess import InputSpec, decode
from handler.problem import Problem
from training.evaluation.conditions import AS_IT_IS, CONDITIONS, apply

Photo = Callable[..., Image.Image]
changes = pytest.mark.parametrize("name", [name for name in CONDITIONS if name != AS_IT_IS])


@pytest.fixture
def picture(photo: Photo) -> bytes:
    buffer = io.BytesIO()
    photo(0, "Cat", (160, 120)).save(buffer, "JPEG", quality=95)
    return buffer.getvalue()


def pixels(data: bytes) -> np.ndarray:
    return np.asarray(upright(open_image(data))).astype(np.int64)


def test_a_picture_as_it_is_keeps_its_bytes(picture: bytes) -> None:
    assert apply(AS_IT_IS, picture) == picture


@changes
def test_a_condition_changes_a_picture_alike_each_time(picture: bytes, name: str) -> None:
    changed = apply(name, picture)
    assert changed == apply(name, picture)
    spec = InputSpec(64)
    assert np.abs(decode(changed, spec).astype(int) - decode(picture, spec)).mean() > 0.2, "the network sees a change"


@changes
def test_a_condition_takes_a_picture_of_one_pixel(name: str) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (1, 1), "red").save(buffer, "PNG")
    assert decode(apply(name, buffer.getvalue()), InputSpec(32)).shape == (32, 32, 3)


@changes
def test_what_is_no_picture_is_refused(name: str) -> None:
    with pytest.raises(Problem):
        apply(name, b"no picture")


def test_the_random_part_differs_between_pictures(photo: Photo) -> None:
    hidden = []
    for seed in range(8):
        buffer = io.BytesIO()
        photo(seed, "Cat", (80, 60)).save(buffer, "PNG")
        grey = (pixels(apply("occluded", buffer.getvalue())) == 128).all(axis=2)
        rows, columns = np.nonzero(grey)
        hidden.append((int(rows.min()), int(columns.min())))
    assert len(set(hidden)) > 3


def test_conditions_are_as_described(picture: bytes) -> None:
    plain = pixels(picture)
    assert pixels(apply("dark", picture)).mean() == pytest.approx(0.35 * plain.mean(), rel=0.03)
    assert pixels(apply("bright", picture)).mean() > 1.2 * plain.mean()
    assert min(pixels(apply("small", picture)).shape[:2]) == 64
    grey = pixels(apply("grayscale", picture))
    assert (grey[..., 0] == grey[..., 1]).all()
    assert (grey[..., 1] == grey[..., 2]).all()
    assert pixels(apply("rotated by 90 degrees", picture)).shape == (160, 120, 3)
    noise = pixels(apply("noisy", picture)) - plain
    assert 15 < noise.std() <= 25, "values at the ends of the range are cut off"
    squeezed = pixels(apply("squeezed", picture))
    assert (squeezed[:, :40] == 0).all()
    assert (squeezed[:, 120:] == 0).all()
    assert ((pixels(apply("occluded", picture)) == 128).all(axis=2)).mean() == pytest.approx(0.25, abs=0.01)
    assert open_image(apply("JPEG", picture)).format == "JPEG"
    assert len(apply("JPEG", picture)) < len(picture) / 2


def test_a_rotated_picture_has_no_empty_corners() -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (160, 120), "white").save(buffer, "PNG")
    rotated = pixels(apply("rotated by 15 degrees", buffer.getvalue()))
    assert rotated.min() > 250
    height, width, _ = rotated.shape
    assert width / height == pytest.approx(160 / 120, rel=0.05)
    assert width > 100
