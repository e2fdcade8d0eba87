"""A class activation map laid over its picture, as PNG.

Orange parts speak for the class and violet ones against it: two colours that people with any colour vision tell apart.
The stronger, the less of the picture is left. What the network did not see is darkened.
"""

import io

import numpy as np
import numpy.typing as npt
from PIL import Image

from handler.preprocess import InputSpec, Pixels, box_of, decode

# Of the longer side. So a PNG has less than the MiB that TorchServe takes from a worker, even one of noise.
SIDE = 512
FOR, AGAINST = (230, 97, 0), (93, 58, 155)
# Of the strongest part.
OPACITY = 0.65
UNSEEN = 0.5
# Of zlib; higher levels take longer for few bytes.
COMPRESS_LEVEL = 1

Floats = npt.NDArray[np.float32]


def shown(data: bytes, width: int, height: int) -> Image.Image:
    """Return the picture, upright, with SIDE pixels on its longer side.

    Args:
        width: of the picture, upright.

    Raises:
        Problem: as `decode`.
    """
    scale = SIDE / max(width, height)
    square = Image.fromarray(decode(data, InputSpec(SIDE)))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return square.resize(size, Image.Resampling.BILINEAR)


def overlay(picture: Image.Image, values: Floats, spec: InputSpec) -> bytes:
    """Return a picture with a map over it, as PNG.

    Args:
        values: the map, (rows, columns).
        spec: the network's input, which says what part of the picture it saw.
    """
    width, height = picture.size
    left, top, right, bottom = (round(edge) for edge in box_of(width, height, spec.resize))
    area = Image.fromarray(values.astype(np.float32)).resize(
        (max(1, right - left), max(1, bottom - top)), Image.Resampling.BICUBIC
    )
    strength = np.asarray(area) / max(float(np.abs(values).max()), 1e-9)
    opacity = OPACITY * np.minimum(np.abs(strength), 1)[..., None]
    colour = np.where(strength[..., None] > 0, np.array(FOR, np.float32), np.array(AGAINST, np.float32))
    pixels = np.asarray(picture, dtype=np.float32) * UNSEEN
    seen = np.asarray(picture, dtype=np.float32)[top : top + area.height, left : left + area.width]
    pixels[top : top + area.height, left : left + area.width] = seen * (1 - opacity) + colour * opacity
    return png(pixels.round().astype(np.uint8))


def png(pixels: Pixels) -> bytes:
    """Encode without metadata."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", compress_level=COMPRESS_LEVEL)
    return file.getvalue()
