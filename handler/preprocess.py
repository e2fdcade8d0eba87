"""The one evaluation transform: the bytes of a picture -> uint8 pixels.

Training, evaluation and serving import it from here, so they cannot differ.
"""

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from PIL import Image

from handler.problem import Problem

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP")
MAX_BYTES = 16 * 2**20
MAX_PIXELS = 50_000_000

# Pillow's own guard warns at 89 megapixels and raises at twice that; ours is stricter and comes first.
Image.MAX_IMAGE_PIXELS = None

Pixels = npt.NDArray[np.uint8]
Resize = Literal["squeeze", "crop"]

ORIENTATION_TAG = 0x0112
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@dataclass(frozen=True, slots=True)
class InputSpec:
    """What the network takes: a square of `size` pixels.

    `squeeze` scales the whole picture without regard to its aspect, `crop` takes the largest centred square.
    """

    size: int
    resize: Resize = "squeeze"


@contextmanager
def quiet() -> Iterator[None]:
    """Pillow warns of broken EXIF, which many good pictures carry; a client must not write into our log."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        yield


def open_image(data: bytes, max_bytes: int = MAX_BYTES, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Reads the header only, so that a picture too large is refused before it costs memory.

    Raises:
        Problem: 400, 413 or 415.
    """
    if not data:
        raise Problem(400, "no_image", "The request has no picture in it: send the bytes of a JPEG, PNG or WebP.")
    if len(data) > max_bytes:
        raise Problem(413, "too_many_bytes", f"The picture has {len(data)} bytes; the limit is {max_bytes}.")
    try:
        with quiet():
            image = Image.open(io.BytesIO(data), formats=FORMATS)
    except MemoryError:
        raise
    except Exception as error:
        raise Problem(415, "unsupported_image", f"This is not a picture we can read ({', '.join(FORMATS)}).") from error
    if image.width * image.height > max_pixels:
        raise Problem(
            413, "too_many_pixels", f"The picture has {image.width} x {image.height} pixels; the limit is {max_pixels}."
        )
    return image


def count_pixels(data: bytes, max_pixels: int = MAX_PIXELS) -> int:
    """Of an encoded picture, by its header alone.

    Raises:
        Problem: as `open_image`.
    """
    image = open_image(data, max_pixels=max_pixels)
    return image.width * image.height


def to_rgb(image: Image.Image) -> Image.Image:
    """Decodes fully; transparency lies on white, 16-bit grey keeps its upper byte."""
    if image.mode.startswith("I;16"):
        grey = np.asarray(image).astype(np.uint16) >> 8
        return Image.fromarray(grey.astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")
    return image.convert("RGB")


def orientation(image: Image.Image) -> int:
    """EXIF's, 1 where there is none."""
    if image.format not in ("JPEG", "TIFF", "WEBP", "PNG"):
        return 1
    with quiet():
        return int(image.getexif().get(ORIENTATION_TAG, 1))


def upright(image: Image.Image) -> Image.Image:
    """Decoded fully, RGB, and turned as EXIF says."""
    rgb, turn = to_rgb(image), orientation(image)
    return rgb.transpose(UPRIGHT[turn]) if turn in UPRIGHT else rgb


def decode(data: bytes, spec: InputSpec, max_bytes: int = MAX_BYTES, max_pixels: int = MAX_PIXELS) -> Pixels:
    """The network's input for one picture.

    Returns:
        uint8 array of shape (size, size, 3), RGB, upright.

    Raises:
        Problem: the picture is missing, too large, of an unknown format or broken.
    """
    image = open_image(data, max_bytes, max_pixels)
    try:
        # A JPEG is decoded at 1/2, 1/4 or 1/8 where that leaves at least twice the pixels needed: a 12-megapixel
        # photo costs a quarter, a small one stays as it is.
        image.draft(None, (2 * spec.size, 2 * spec.size))
        rgb = to_rgb(image)
        turn = orientation(image)
    except MemoryError:
        raise
    except Exception as error:
        raise Problem(422, "corrupt_image", f"The {image.format} picture is broken or cut off.") from error
    square = rgb.resize((spec.size, spec.size), Image.Resampling.BILINEAR, box=_box(rgb.width, rgb.height, spec.resize))
    # A square turned after scaling is the same as one scaled after turning, and far cheaper.
    if turn in UPRIGHT:
        square = square.transpose(UPRIGHT[turn])
    return np.asarray(square)


def _box(width: int, height: int, resize: Resize) -> tuple[float, float, float, float]:
    if resize == "squeeze":
        return (0, 0, width, height)
    side = min(width, height)
    left, top = (width - side) / 2, (height - side) / 2
    return (left, top, left + side, top + side)
