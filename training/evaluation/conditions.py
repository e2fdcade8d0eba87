"""Conditions in which pictures are taken and sent: dark, blurred, turned and so on, each as a change to a picture.

A change depends on the picture's content alone: its random part is seeded by the picture's sha256 and the condition's
name. The result is an encoded picture, as a user would send it, so that it passes through the server's own transform.
"""

import hashlib
import io
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter

from handler.load_image import upright
from handler.open_image import open_image

Change = Callable[[Image.Image, np.random.Generator], Image.Image]

AS_IT_IS = "as it is"
DARK, BRIGHT = 0.35, 1.8
BLUR = 0.015
NOISE = 25.0
JPEG_QUALITY = 20
SMALL_SIDE = 64
DEGREES = 15.0
GREY = (128, 128, 128)


@dataclass(frozen=True, slots=True)
class Condition:
    """A change to a picture, and a description of it."""

    description: str
    change: Change
    jpeg_quality: int | None = None
    """Quality of the JPEG that is sent; None sends the pixels without loss."""


def _brightness(factor: float) -> Change:
    return lambda image, random: ImageEnhance.Brightness(image).enhance(factor)


def _blur(image: Image.Image, random: np.random.Generator) -> Image.Image:
    return image.filter(ImageFilter.GaussianBlur(BLUR * min(image.size)))


def _noise(image: Image.Image, random: np.random.Generator) -> Image.Image:
    pixels = np.asarray(image, dtype=np.float32)
    noisy = pixels + NOISE * random.standard_normal(pixels.shape, dtype=np.float32)
    return Image.fromarray(noisy.round().clip(0, 255).astype(np.uint8))


def _small(image: Image.Image, random: np.random.Generator) -> Image.Image:
    scale = SMALL_SIDE / min(image.size)
    size = tuple(max(1, round(scale * side)) for side in image.size)
    return image.resize((size[0], size[1]), Image.Resampling.BOX if scale < 1 else Image.Resampling.BILINEAR)


def _grayscale(image: Image.Image, random: np.random.Generator) -> Image.Image:
    return image.convert("L").convert("RGB")


def _rotate(image: Image.Image, random: np.random.Generator) -> Image.Image:
    """Rotate by DEGREES to either side, and cut out the largest rectangle of the same aspect without empty corners."""
    degrees = DEGREES if random.random() < 0.5 else -DEGREES
    width, height = image.size
    sine, cosine = math.sin(math.radians(DEGREES)), math.cos(math.radians(DEGREES))
    scale = min(width / (width * cosine + height * sine), height / (width * sine + height * cosine))
    left, top = width * (1 - scale) / 2, height * (1 - scale) / 2
    right, bottom = math.floor(width - left), math.floor(height - top)
    box = (
        (min(math.ceil(left), right - 1), min(math.ceil(top), bottom - 1), right, bottom) if right and bottom else None
    )
    return image.rotate(degrees, Image.Resampling.BICUBIC).crop(box)


def _quarter_turn(image: Image.Image, random: np.random.Generator) -> Image.Image:
    return image.transpose(Image.Transpose.ROTATE_90 if random.random() < 0.5 else Image.Transpose.ROTATE_270)


def _squeeze(image: Image.Image, random: np.random.Generator) -> Image.Image:
    """Squeeze to half the width, between black bars: a frame that is squeezed as a whole is no change to `squeeze`."""
    width, height = image.size
    half = max(1, width // 2)
    frame = Image.new("RGB", image.size)
    frame.paste(image.resize((half, height), Image.Resampling.BOX), ((width - half) // 2, 0))
    return frame


def _occlude(image: Image.Image, random: np.random.Generator) -> Image.Image:
    width, height = image.size
    left, top = (int(random.integers(0, side - side // 2 + 1)) for side in image.size)
    hidden = image.copy()
    hidden.paste(GREY, (left, top, left + width // 2, top + height // 2))
    return hidden


CONDITIONS = {
    AS_IT_IS: Condition("not changed", lambda image, random: image),
    "dark": Condition(f"{DARK:g} of the brightness", _brightness(DARK)),
    "bright": Condition(f"{BRIGHT:g} times the brightness, cut off at white", _brightness(BRIGHT)),
    "blurred": Condition(f"Gaussian blur with a radius of {100 * BLUR:g} % of the shorter side", _blur),
    "noisy": Condition(f"Gaussian noise with a standard deviation of {NOISE:g} of 255 on each value", _noise),
    "JPEG": Condition(f"JPEG of quality {JPEG_QUALITY}", lambda image, random: image, JPEG_QUALITY),
    "small": Condition(f"shorter side scaled to {SMALL_SIDE} pixels", _small),
    "grayscale": Condition("without colour", _grayscale),
    "rotated by 15 degrees": Condition("to the left or right, without empty corners", _rotate),
    "rotated by 90 degrees": Condition("to the left or right", _quarter_turn),
    "squeezed": Condition("to half the width, between black bars", _squeeze),
    "occluded": Condition("a grey rectangle of half the width and half the height at a random place", _occlude),
}


def apply(name: str, data: bytes) -> bytes:
    """Return an encoded picture in a condition of CONDITIONS.

    Args:
        data: the encoded picture.

    Raises:
        Problem: the picture cannot be decoded.
    """
    if name == AS_IT_IS:
        return data
    condition = CONDITIONS[name]
    seed = hashlib.sha256(hashlib.sha256(data).digest() + name.encode()).digest()
    image = condition.change(upright(open_image(data)), np.random.default_rng(list(seed)))
    buffer = io.BytesIO()
    if condition.jpeg_quality is None:
        image.save(buffer, "BMP")
    else:
        image.save(buffer, "JPEG", quality=condition.jpeg_quality)
    return buffer.getvalue()
