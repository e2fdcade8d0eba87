"""The evaluation transform, from the bytes of a picture to uint8 pixels.

Training, evaluation and serving import it from here, so they cannot differ.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from PIL import Image

from handler.image_facts import facts_of
from handler.load_image import UPRIGHT, load, to_rgb
from handler.open_image import MAX_BYTES, MAX_PIXELS, open_image
from handler.problem import Problem
from handler.samples import Look
from handler.strips import strip_rows, strips

Pixels = npt.NDArray[np.uint8]
Resize = Literal["squeeze", "crop"]


@dataclass(frozen=True, slots=True)
class InputSpec:
    """The network's input: a square with sides of `size` pixels.

    `squeeze` scales the whole picture without regard to its aspect, `crop` takes the largest centred square.
    """

    size: int
    resize: Resize = "squeeze"


def decode(data: bytes, spec: InputSpec, max_bytes: int = MAX_BYTES, max_pixels: int = MAX_PIXELS) -> Pixels:
    """The network's input for one picture.

    Returns:
        uint8 array of shape (size, size, 3), RGB, upright.

    Raises:
        Problem: the picture is missing, too large, of an unknown format or broken.
    """
    image = open_image(data, max_bytes, max_pixels, spec.size)
    turn = facts_of(image).turn
    # At least twice the pixels needed: a 12-megapixel photo costs a quarter, a small one stays as it is.
    image, look = load(image, (2 * spec.size, 2 * spec.size))
    try:
        square = shrink(image, spec, look)
    except MemoryError:
        raise
    except Exception as error:
        detail = f"The colours of a {image.format} picture of this kind ({image.mode}) are not read here."
        raise Problem(415, "unsupported_image", detail) from error
    # A square turned after scaling is the same as one scaled after turning, and far cheaper.
    if turn in UPRIGHT:
        square = square.transpose(UPRIGHT[turn])
    return np.asarray(square)


def shrink(image: Image.Image, spec: InputSpec, look: Look) -> Image.Image:
    """Scales a decoded image to a square in RGB. `to_rgb(image).resize(...)` does the same, but takes 600 MB for 50
    megapixels; here the rows of a large picture are scaled by parts, and then the columns. (Of a high picture Pillow
    takes the columns first, and so rounds by a level otherwise.)
    """
    width, height = image.size
    left, top, right, bottom = box_of(width, height, spec.resize)
    size, bilinear = (spec.size, spec.size), Image.Resampling.BILINEAR
    if strip_rows(width) >= height:
        return to_rgb(image, look).resize(size, bilinear, box=(left, top, right, bottom))
    narrow = Image.new("RGB", (spec.size, height))
    for start, strip in strips(image):
        rgb = to_rgb(strip, look)
        narrow.paste(rgb.resize((spec.size, rgb.height), bilinear, box=(left, 0, right, rgb.height)), (0, start))
    return narrow.resize(size, bilinear, box=(0, top, spec.size, bottom))


def box_of(width: int, height: int, resize: Resize) -> tuple[float, float, float, float]:
    """Return left, top, right and bottom of the part of a picture that the network sees, in pixels."""
    if resize == "squeeze":
        return (0, 0, width, height)
    side = min(width, height)
    left, top = (width - side) / 2, (height - side) / 2
    return (left, top, left + side, top + side)
