"""The evaluation transform, from the bytes of a picture to uint8 pixels.

Training, evaluation and serving import it from here, so they cannot differ.
"""

import hashlib
import io
import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

from handler.frames import first_shown
from handler.metadata import EOI, PNG, lean_jpeg, lean_png, lean_webp, read_orientation, webp_size
from handler.problem import Problem
from handler.samples import Look, look_at
from handler.sniff import name_of, picture_start
from handler.tiff import Samples, Tiff

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

# What `open_image` learned of a file, in the image's info.
FACTS = "catsdogs"
# A JPEG without an end goes on in two ways: where both give the same pixels, all of them are there.
ENDINGS = tuple(byte * 2**16 + EOI for byte in (b"\0", b"\x55"))

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
    """The network's input: a square with sides of `size` pixels.

    `squeeze` scales the whole picture without regard to its aspect, `crop` takes the largest centred square.
    """

    size: int
    resize: Resize = "squeeze"


@dataclass(frozen=True, slots=True)
class Facts:
    """Metadata of the file that Pillow does not keep."""

    turn: int = 1
    """EXIF's orientation."""
    has_one_scan: bool = True
    unended: bytes | None = None
    """A JPEG's own bytes where it has no end marker."""
    samples: Samples | None = None
    significant_bits: int | None = None
    deep: bool = False
    """Whether Pillow drops half of its 16 bits."""


@contextmanager
def quiet() -> Iterator[None]:
    """Pillow warns of broken EXIF, which many good pictures carry; a client must not write into our log."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        yield


def open_image(
    data: bytes, max_bytes: int = MAX_BYTES, max_pixels: int = MAX_PIXELS, side: int | None = None
) -> Image.Image:
    """Reads the header only, so that a picture too large is refused before it costs memory.

    Args:
        side: of the square that it will be scaled to, where it will: a JPEG is then decoded smaller.

    Raises:
        Problem: 400, 413, 415, or 422 for a header that asks for more than its picture needs.
    """
    if not data:
        raise Problem(400, "no_image", "The request has no picture in it: send the bytes of a JPEG, PNG or WebP.")
    if len(data) > max_bytes:
        raise Problem(413, "too_many_bytes", f"The picture has {len(data)} bytes; the limit is {max_bytes}.")
    if start := picture_start(data):
        data = data[start:]
    with quiet():
        image, block = _open(data)
    if image.width * image.height > max_pixels or max(image.size) > MAX_SIDE:
        limit = f"{max_pixels}, and {MAX_SIDE} for a side"
        raise Problem(
            413, "too_many_pixels", f"The picture has {image.width} x {image.height} pixels; the limit is {limit}."
        )
    if memory(image, side) + block > MAX_MEMORY:
        raise _too_many(image.width, image.height, str(image.format))
    return image


def _too_many(width: int, height: int, kind: str) -> Problem:
    return Problem(413, "too_many_pixels", f"{width} x {height} pixels are too many for a {kind} picture of this kind.")


def _open(data: bytes) -> tuple[Image.Image, int]:
    """The image with its facts, and the bytes that a TIFF's largest block takes."""
    if data.startswith(b"\xff\xd8\xff"):
        return _open_jpeg(data), 0
    if data[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return _open_tiff(data)
    is_png = data.startswith(PNG)
    if is_png:
        data = lean_png(data)
    if (size := webp_size(data)) and 16 * size[0] * size[1] > MAX_MEMORY:  # Pillow makes room for it at once
        raise _too_many(*size, "WEBP")
    try:
        image = _pillow(data)
    except Problem:
        if data[8:12] != b"WEBP":
            raise
        image = _pillow(lean_webp(data))
    exif, xmp = image.info.get("exif"), image.info.get("XML:com.adobe.xmp") or image.info.get("xmp")
    if is_png and exif is None:
        exif = _raw_profile(image.info.get("Raw profile type exif"))
    bits = _png_bits(data) if is_png else None
    image.info[FACTS] = Facts(
        turn=read_orientation(exif, xmp) if image.format in ("PNG", "WEBP") else 1,
        significant_bits=bits,
        # Bits and colours of IHDR; grey of 16 bits Pillow keeps.
        deep=is_png and data[24:25] == b"\x10" and data[25:26] != b"\0",
    )
    return image, 0


def _open_jpeg(data: bytes) -> Image.Image:
    lean, scan = lean_jpeg(data)
    unended = lean.rfind(EOI, scan) < 0
    if unended:
        lean = lean.removesuffix(b"\xff")  # half of the end marker
    try:
        image = _pillow(lean + ENDINGS[0] if unended else lean)
    except Problem:
        # What is left says how colours are stored, so that the fault is the picture's own.
        lean, scan = lean_jpeg(data, strict=True)
        lean = lean.removesuffix(b"\xff") if unended else lean
        image = _pillow(lean + ENDINGS[0] if unended else lean)
    assert isinstance(image, JpegImageFile)
    image.info[FACTS] = Facts(
        turn=read_orientation(image.info.get("exif"), image.info.get("xmp")),
        has_one_scan=_has_one_scan(image, lean),
        unended=lean if unended else None,
    )
    return image


def _open_tiff(data: bytes) -> tuple[Image.Image, int]:
    directory = Tiff(data)
    block = directory.largest_block(MAX_PIXELS)
    image, samples, turn = _pillow(directory.lean()), directory.samples(), directory.orientation()
    turn = read_orientation(None, directory.xmp()) if turn is None else turn
    deep = samples.bits == 16 and not image.mode.startswith("I")
    image.info[FACTS] = Facts(turn=turn, samples=samples, deep=deep)
    return image, block


def _pillow(data: bytes) -> Image.Image:
    try:
        return Image.open(io.BytesIO(data), formats=FORMATS)
    except MemoryError:
        raise
    except Exception as error:
        raise Problem(415, "unsupported_image", name_of(data)) from error


def _png_bits(data: bytes) -> int | None:
    """Significant bits of a sample by sBIT, a chunk before the pixels."""
    at = data.find(b"sBIT", 8, max(8, data.find(b"IDAT")))
    return data[at + 4] if at > 0 else None


def _raw_profile(text: object) -> bytes | None:
    """EXIF in hexadecimal after three lines, as ImageMagick writes it."""
    if not isinstance(text, str):
        return None
    try:
        return bytes.fromhex("".join(text.split("\n")[3:]))
    except ValueError:
        return None


def facts_of(image: Image.Image) -> Facts:
    """Those that `open_image` found; of an image that Pillow opened, its orientation."""
    facts = image.info.get(FACTS)
    if isinstance(facts, Facts):
        return facts
    return Facts(turn=read_orientation(image.info.get("exif"), image.info.get("xmp")))


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


def _has_one_scan(image: JpegImageFile, data: bytes) -> bool:
    """Whether the first scan holds all components: libjpeg reads no other then, and keeps no coefficients."""
    header = b"\xff\xda" + bytes([0, 6 + 2 * image.layers, image.layers])
    end = image.fp.tell() if image.fp else 0
    return "progressive" not in image.info and data.startswith(header, max(0, end - 8 - 2 * image.layers))


def count_pixels(data: bytes, max_pixels: int = MAX_PIXELS) -> int:
    """Return the number of pixels of an encoded picture, from its header alone.

    Raises:
        Problem: as `open_image`.
    """
    image = open_image(data, max_pixels=max_pixels)
    return image.width * image.height


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
    rows = max(1, STRIP_PIXELS // image.width)
    for top in range(0, image.height, rows):
        total.update(image.crop((0, top, image.width, min(top + rows, image.height))).tobytes())
    return total.digest()


def to_rgb(image: Image.Image, look: Look | None = None) -> Image.Image:
    """Decodes fully; transparency lies on white, 16-bit grey keeps its upper byte unless `look` says otherwise."""
    if look is not None and look.black is not None:
        return look.to_grey(image).convert("RGB")
    if image.mode.startswith("I;16"):
        grey = np.asarray(image).astype(np.uint16) >> 8
        return Image.fromarray(grey.astype(np.uint8)).convert("RGB")
    if image.has_transparency_data and not (look and look.opaque):
        rgba = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")
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
    left, top, right, bottom = _box(width, height, spec.resize)
    size, bilinear = (spec.size, spec.size), Image.Resampling.BILINEAR
    rows = max(1, STRIP_PIXELS // width)
    if rows >= height:
        return to_rgb(image, look).resize(size, bilinear, box=(left, top, right, bottom))
    narrow = Image.new("RGB", (spec.size, height))
    for start in range(0, height, rows):
        strip = to_rgb(image.crop((0, start, width, min(start + rows, height))), look)
        narrow.paste(strip.resize((spec.size, strip.height), bilinear, box=(left, 0, right, strip.height)), (0, start))
    return narrow.resize(size, bilinear, box=(0, top, spec.size, bottom))


def _box(width: int, height: int, resize: Resize) -> tuple[float, float, float, float]:
    if resize == "squeeze":
        return (0, 0, width, height)
    side = min(width, height)
    left, top = (width - side) / 2, (height - side) / 2
    return (left, top, left + side, top + side)
