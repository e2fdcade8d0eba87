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
from PIL.JpegImagePlugin import JpegImageFile

from handler.problem import Problem
from handler.tiff import largest_block

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP")
MAX_BYTES = 16 * 2**20
MAX_PIXELS = 50_000_000
# A picture of one column and 50 million rows would be 128 times as large when it is scaled to 128 columns.
MAX_SIDE = 65_535
# What decoding may take besides the bytes sent: 50 megapixels take 200 MB in most formats.
MAX_MEMORY = 300 * 2**20
# Pictures are converted and scaled by so many pixels at a time: 50 megapixels at once would take another 600 MB.
STRIP_PIXELS = 2**20

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
    if image.width * image.height > max_pixels or max(image.size) > MAX_SIDE:
        limit = f"{max_pixels}, and {MAX_SIDE} for a side"
        raise Problem(
            413, "too_many_pixels", f"The picture has {image.width} x {image.height} pixels; the limit is {limit}."
        )
    if memory(image, data) > MAX_MEMORY:
        detail = f"{image.width} x {image.height} pixels are too many for a {image.format} picture of this kind."
        raise Problem(413, "too_many_pixels", detail)
    return image


def memory(image: Image.Image, data: bytes) -> int:
    """Bytes that its decoder will take, roughly.

    Raises:
        Problem: as `largest_block`.
    """
    pixels = image.width * image.height
    if image.format == "WEBP":  # the canvas, the one before it, a copy and Pillow's own
        return 16 * pixels
    if image.format == "TIFF":
        return 4 * pixels + largest_block(data, MAX_PIXELS)
    if isinstance(image, JpegImageFile) and not has_one_scan(image, data):  # all coefficients, of two bytes each
        return 2 * image.layers * pixels
    return 4 * pixels


def has_one_scan(image: JpegImageFile, data: bytes) -> bool:
    """Whether the first scan holds all components: libjpeg reads no other then, and keeps no coefficients."""
    header = b"\xff\xda" + bytes([0, 6 + 2 * image.layers, image.layers])
    end = image.fp.tell() if image.fp else 0
    return "progressive" not in image.info and data.startswith(header, max(0, end - 8 - 2 * image.layers))


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
    if image.format not in ("JPEG", "MPO", "TIFF", "WEBP", "PNG"):
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
    if isinstance(image, JpegImageFile) and not has_one_scan(image, data):
        # A scan of ten bytes may go through the whole picture; between two of Pillow's blocks it can be interrupted.
        image.decodermaxblock = 1024
    try:
        with quiet():
            # A JPEG is decoded at 1/2, 1/4 or 1/8 where that leaves at least twice the pixels needed: a 12-megapixel
            # photo costs a quarter, a small one stays as it is.
            image.draft(None, (2 * spec.size, 2 * spec.size))
            square = shrink(image, spec)
            turn = orientation(image)
    except MemoryError:
        raise
    except Exception as error:
        raise Problem(422, "corrupt_image", f"The {image.format} picture is broken or cut off.") from error
    # A square turned after scaling is the same as one scaled after turning, and far cheaper.
    if turn in UPRIGHT:
        square = square.transpose(UPRIGHT[turn])
    return np.asarray(square)


def shrink(image: Image.Image, spec: InputSpec) -> Image.Image:
    """Decodes fully and scales to a square in RGB. `to_rgb(image).resize(...)` does the same, but takes 600 MB for 50
    megapixels; here the rows of a large picture are scaled by parts, and then the columns. (Of a high picture Pillow
    takes the columns first, and so rounds by a level otherwise.)
    """
    image.load()
    width, height = image.size
    left, top, right, bottom = _box(width, height, spec.resize)
    size, bilinear = (spec.size, spec.size), Image.Resampling.BILINEAR
    rows = max(1, STRIP_PIXELS // width)
    if rows >= height:
        return to_rgb(image).resize(size, bilinear, box=(left, top, right, bottom))
    narrow = Image.new("RGB", (spec.size, height))
    for start in range(0, height, rows):
        strip = to_rgb(image.crop((0, start, width, min(start + rows, height))))
        narrow.paste(strip.resize((spec.size, strip.height), bilinear, box=(left, 0, right, strip.height)), (0, start))
    return narrow.resize(size, bilinear, box=(0, top, spec.size, bottom))


def _box(width: int, height: int, resize: Resize) -> tuple[float, float, float, float]:
    if resize == "squeeze":
        return (0, 0, width, height)
    side = min(width, height)
    left, top = (width - side) / 2, (height - side) / 2
    return (left, top, left + side, top + side)
