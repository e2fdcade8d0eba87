"""Ways from a JPEG to the network's input that could replace today's."""

import importlib
import importlib.util
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from PIL import Image

from handler.image_facts import facts_of
from handler.load_image import UPRIGHT, load, to_rgb
from handler.open_image import open_image
from handler.preprocess import InputSpec, Pixels, decode, shrink
from handler.samples import Look

BILINEAR = Image.Resampling.BILINEAR
Decode = Callable[[bytes], Pixels]
# From a picture that was opened and checked, and its bytes, to a square.
Square = Callable[[Image.Image, bytes], Image.Image]


def decoders(spec: InputSpec) -> dict[str, Decode]:
    """Return today's decoder first, and then its rivals; those of simplejpeg only where it is installed."""
    size, twice = spec.size, (2 * spec.size, 2 * spec.size)

    def small_draft(image: Image.Image, data: bytes) -> Image.Image:
        decoded, look = load(image, (size, size))
        return shrink(decoded, spec, look)

    def gap(factor: float, image: Image.Image, data: bytes) -> Image.Image:
        return to_rgb(*load(image, twice)).resize((size, size), BILINEAR, reducing_gap=factor)

    def as_today(image: Image.Image, data: bytes) -> Image.Image:
        scale = next(scale for scale in (8, 4, 2, 1) if scale == 1 or min(image.size) >= scale * twice[0])
        width, height = (-(-side // scale) for side in image.size)
        return by_simplejpeg(image, data, min_width=width, min_height=height)

    def by_simplejpeg(image: Image.Image, data: bytes, **options: Any) -> Image.Image:
        return shrink(Image.fromarray(simplejpeg.decode_jpeg(data, **options)), spec, Look())

    squares: dict[str, Square] = {"draft to 1x, not 2x": small_draft}
    if spec.resize == "squeeze":  # Pillow cannot be given both a box and a gap below 1
        squares |= {"reducing_gap=2": partial(gap, 2.0), "reducing_gap=1": partial(gap, 1.0)}
    if importlib.util.find_spec("simplejpeg"):
        simplejpeg = importlib.import_module("simplejpeg")
        squares |= {
            "simplejpeg, the same scale": as_today,
            "simplejpeg, any n/8": partial(by_simplejpeg, min_width=twice[0], min_height=twice[0]),
            "simplejpeg, fast DCT": partial(by_simplejpeg, fastdct=True, fastupsample=True),
        }
    rivals = {name: partial(_decode, square, size) for name, square in squares.items()}
    return {"today": lambda data: decode(data, spec), **rivals}


def _decode(square: Square, size: int, data: bytes) -> Pixels:
    image = open_image(data, side=size)
    turn = facts_of(image).turn
    scaled = square(image, data)
    return np.asarray(scaled.transpose(UPRIGHT[turn]) if turn in UPRIGHT else scaled)
