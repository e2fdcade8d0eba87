"""Animations: the first frame that shows something is the picture."""

import numpy as np
import pytest
from PIL import Image

from handler.frames import MAX_FRAMES
from handler.preprocess import InputSpec, decode
from handler.problem import Problem
from tests import zoo
from tests.bombs import BOMBS, apng_of_frames

SPEC = InputSpec(128)
PHOTO = zoo.photo().resize((160, 120)).convert("RGBA")
CLEAR = Image.new("RGBA", PHOTO.size, (0, 0, 0, 0))
FORMATS: dict[str, dict[str, object]] = {
    "GIF": {"disposal": 2},
    "PNG": {"blend": 0},
    "WEBP": {"lossless": True, "minimize_size": False},
}


def animation(kind: str, frames: list[Image.Image]) -> bytes:
    options: dict[str, object] = {"save_all": True, "append_images": frames[1:], "duration": 40, **FORMATS[kind]}
    return zoo.encode(frames[0], kind, **options)


def faint(level: int) -> Image.Image:
    image = PHOTO.copy()
    image.putalpha(level)
    return image


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("empty", [1, 3])
def test_frames_that_show_nothing_are_passed_over(kind: str, empty: int) -> None:
    nothing = [Image.new("RGBA", PHOTO.size, (number, 0, 0, 0)) for number in range(empty)]
    seen = decode(animation(kind, [*nothing, PHOTO, PHOTO.rotate(180)]), SPEC).astype(int)
    right = decode(zoo.encode(PHOTO.convert("RGB"), "PNG"), SPEC).astype(int)
    assert np.abs(seen - right).mean() < 4


@pytest.mark.parametrize("kind", FORMATS)
def test_a_first_frame_that_shows_something_stays_the_picture(kind: str) -> None:
    seen = decode(animation(kind, [PHOTO, PHOTO.rotate(180)]), SPEC).astype(int)
    right = decode(zoo.encode(PHOTO.convert("RGB"), "PNG"), SPEC).astype(int)
    assert np.abs(seen - right).mean() < 4


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_a_frame_that_is_hardly_opaque_shows_nothing(kind: str) -> None:
    seen = decode(animation(kind, [faint(5), faint(100), PHOTO]), SPEC).astype(int)
    assert np.abs(seen - decode(zoo.encode(PHOTO.convert("RGB"), "PNG"), SPEC).astype(int)).mean() < 4


@pytest.mark.parametrize("kind", FORMATS)
def test_a_still_picture_of_nothing_is_white(kind: str) -> None:
    assert decode(zoo.encode(CLEAR, kind), SPEC).min() == 255


def test_an_animation_of_nothing_is_white_and_not_looked_through_without_end() -> None:
    assert decode(apng_of_frames(32, 10 * MAX_FRAMES), SPEC).min() == 255


def test_a_large_animation_that_begins_with_nothing_is_refused() -> None:
    with pytest.raises(Problem, match="first frame shows nothing") as raised:
        decode(BOMBS["gif of large frames"](), SPEC)
    assert (raised.value.status, raised.value.code) == (413, "too_many_pixels")
