"""Estimate of the memory that decoding an image takes, from its header."""

import math

from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

from handler.image_facts import facts_of

# What decoding may take besides the bytes sent: 50 megapixels take 200 MB in most formats.
MAX_MEMORY = 300 * 2**20


def memory(image: Image.Image, side: int | None = None) -> int:
    """Bytes that its decoder will take, roughly; a TIFF's blocks are counted elsewhere.

    Args:
        side: as `open_image`.
    """
    pixels = image.width * image.height
    if image.format == "WEBP":  # the canvas, the one before it, a copy and Pillow's own
        return 16 * pixels
    if isinstance(image, JpegImageFile) and not facts_of(image).has_one_scan:
        scale = min(8, max(1, min(image.width, image.height) // (2 * side))) if side else 1
        scale = 2 ** int(math.log2(scale))
        return _coefficients(image) + (4 * pixels // scale**2 if side else 0)
    return 4 * pixels


def _coefficients(image: JpegImageFile) -> int:
    """Bytes of all coefficients, two for each, which libjpeg keeps where there are several scans."""
    factors = [(max(1, layer[1]), max(1, layer[2])) for layer in image.layer] or [(1, 1)]
    high, wide = max(factor[0] for factor in factors), max(factor[1] for factor in factors)
    # Blocks of 8 x 8, as many as make whole groups of all components.
    groups = math.ceil(image.width / (8 * wide)) * math.ceil(image.height / (8 * high))
    return 2 * 64 * groups * sum(tall * broad for tall, broad in factors)
