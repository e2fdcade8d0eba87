"""Opening of an encoded picture: its header is read and held against the limits, before its pixels cost anything."""

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

from handler.image_facts import FACTS, Facts
from handler.image_memory import MAX_MEMORY, memory
from handler.metadata import EOI, PNG, lean_jpeg, lean_png, lean_webp, read_orientation, webp_size
from handler.problem import Problem
from handler.sniff import name_of, picture_start
from handler.tiff import Tiff

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP")
MAX_BYTES = 16 * 2**20
MAX_PIXELS = 50_000_000
# A picture of one column and 50 million rows would be 128 times as large when it is scaled to 128 columns.
MAX_SIDE = 65_535

# Pillow's own guard warns at 89 megapixels and raises at twice that; ours is stricter and comes first.
Image.MAX_IMAGE_PIXELS = None

# A JPEG without an end goes on in two ways: where both give the same pixels, all of them are there.
ENDINGS = tuple(byte * 2**16 + EOI for byte in (b"\0", b"\x55"))


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
