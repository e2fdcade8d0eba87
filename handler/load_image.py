"""Full decoding of an opened picture: its pixels, in RGB and upright."""

import hashlib
import io

import numpy as np
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

from handler.frames import first_shown
from handler.image_facts import FACTS, Facts, facts_of
from handler.open_image import ENDINGS, quiet
from handler.problem import Problem
from handler.samples import Look, look_at
from handler.strips import strips

UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def load(image: Image.Image, least: tuple[int, int] | None = None) -> tuple[Image.Image, Look]:
    """Decode fully.

    Args:
        least: decode a JPEG at 1/2, 1/4 or 1/8 where that leaves no fewer pixels.

    Returns:
        The image at the frame that stands for it, and how its samples are to be shown.

    Raises:
        Problem: 422, it is broken or cut off; 413 or 415, it cannot be shown.
    """
    facts = facts_of(image)
    try:
        with quiet():
            if isinstance(image, JpegImageFile):
                image = _load_jpeg(image, facts, least)
            else:
                image.load()
                image = first_shown(image)
    except (MemoryError, Problem):
        raise
    except Exception as error:
        # Two decoders do not tell a failed malloc from a broken picture.
        memory_too = ", or takes too much memory" if image.format in ("WEBP", "TIFF") else ""
        raise Problem(422, "corrupt_image", f"The {image.format} picture is broken or cut off{memory_too}.") from error
    return image, look_at(image, facts.samples, facts.significant_bits, facts.deep)


def _load_jpeg(image: JpegImageFile, facts: Facts, least: tuple[int, int] | None) -> Image.Image:
    if not facts.has_one_scan:
        # A scan of ten bytes may go through the whole picture; between two of Pillow's blocks it can be interrupted.
        image.decodermaxblock = 1024
    if least:
        image.draft(None, least)
    image.load()
    if facts.unended is None:
        return image
    seen, mode = _digest(image), image.mode
    del image
    other = Image.open(io.BytesIO(facts.unended + ENDINGS[1]), formats=("JPEG",))
    if least:
        other.draft(None, least)
    other.load()
    other.info[FACTS] = facts
    if other.mode != mode or _digest(other) != seen:
        raise Problem(422, "corrupt_image", "The JPEG picture is cut off: its lower part is missing.")
    return other


def _digest(image: Image.Image) -> bytes:
    total = hashlib.sha256()
    for _, strip in strips(image):
        total.update(strip.tobytes())
    return total.digest()


def to_rgb(image: Image.Image, look: Look | None = None) -> Image.Image:
    """Decodes fully; transparency lies on white, 16-bit grey keeps its upper byte unless `look` says otherwise.

    An image that is in RGB already is returned itself.
    """
    if look is not None and look.black is not None:
        return look.to_grey(image).convert("RGB")
    if image.mode.startswith("I;16"):
        grey = np.asarray(image).astype(np.uint16) >> 8
        return Image.fromarray(grey.astype(np.uint8)).convert("RGB")
    if image.has_transparency_data and not (look and look.opaque):
        rgba = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")
    if image.mode == "RGB":  # `convert` would copy it
        image.load()
        return image
    return image.convert("RGB")


def upright(image: Image.Image, least: tuple[int, int] | None = None) -> Image.Image:
    """Decoded fully, RGB, and turned as EXIF says.

    Args:
        least: as `load`.

    Raises:
        Problem: as `load`.
    """
    turn = facts_of(image).turn
    rgb = to_rgb(*load(image, least))
    return rgb.transpose(UPRIGHT[turn]) if turn in UPRIGHT else rgb
