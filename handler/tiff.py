"""What a TIFF asks of libtiff, which decodes it in one call that nothing can interrupt: the blocks (strips or tiles)
that it is cut into are looked at first. A picture of 64 x 64 pixels may name tiles of gigabytes, or millions of them.

libtiff takes the first of several entries with one tag and Pillow the last, so the directory is read here anew.
"""

import contextlib
import ctypes
import math
import struct

from PIL import Image

from handler.problem import Problem

# libtiff knows more: JPEG as it was before 1995, and rare ones, some of which take any amount of memory.
COMPRESSIONS = (1, 2, 3, 4, 5, 7, 8, 32773, 32946)
# Most programs write blocks of 8 KiB: 25,000 of them are 50 megapixels of RGBA. One costs up to 50 us.
MAX_BLOCKS = 32_768
WIDTH, LENGTH, BITS, COMPRESSION, SAMPLES, ROWS, PLANES, TILE_WIDTH, TILE_LENGTH = (
    *(256, 257, 258, 259, 277, 278, 284, 322, 323),
)
SHORT, LONG = 3, 4


def silence() -> None:
    """libtiff writes what is wrong with a picture to standard error, past Python: a client must not fill our log."""
    # Finds what Pillow itself is linked with; a build that hides it only logs more.
    with contextlib.suppress(OSError, AttributeError):
        library = ctypes.CDLL(Image.core.__file__)  # type: ignore[attr-defined]
        library.TIFFSetErrorHandler(None)
        library.TIFFSetWarningHandler(None)


def largest_block(data: bytes, max_pixels: int) -> int:
    """Bytes of its largest block, decoded; 0 where nothing is compressed, which Pillow reads without libtiff.

    Raises:
        Problem: 415 for what is not decoded here, 422 for blocks that cost more than the picture.
    """
    try:
        tags = _tags(data)
        if tags.get(COMPRESSION, 1) not in COMPRESSIONS:
            raise Problem(415, "unsupported_image", "The TIFF picture is compressed in a way that is not read here.")
        if tags.get(COMPRESSION, 1) == 1:
            return 0
        width, length, samples = tags[WIDTH], tags[LENGTH], tags.get(SAMPLES, 1)
        tiled = TILE_WIDTH in tags
        columns = tags[TILE_WIDTH] if tiled else width
        rows = tags[TILE_LENGTH] if tiled else min(tags.get(ROWS, length), length)
        blocks = math.ceil(width / columns) * math.ceil(length / rows) * (samples if tags.get(PLANES) == 2 else 1)
        # Tiles stick out at the right and at the bottom.
        if blocks > MAX_BLOCKS or blocks * columns * rows > 2 * max_pixels:
            raise Problem(422, "corrupt_image", f"The TIFF picture has {blocks} blocks of {columns} x {rows} pixels.")
        return columns * rows * samples * tags.get(BITS, 1) // 8
    except (struct.error, KeyError, ZeroDivisionError) as error:
        raise Problem(422, "corrupt_image", "The TIFF picture's directory is broken.") from error


def _tags(data: bytes) -> dict[int, int]:
    """Of the first directory: the first value of each tag that we ask for.

    Raises:
        KeyError: one is of a type that only one of libtiff and Pillow reads.
        struct.error: it is cut off, or of 64 bits, for files above 4 GiB.
    """
    order = {b"II*\0": "<", b"MM\0*": ">"}[data[:4]]
    (start,) = struct.unpack_from(f"{order}L", data, 4)
    (count,) = struct.unpack_from(f"{order}H", data, start)
    tags: dict[int, int] = {}
    for entry in range(start + 2, start + 2 + 12 * count, 12):
        tag, kind, values = struct.unpack_from(f"{order}HHL", data, entry)
        if tag in tags or tag not in (WIDTH, LENGTH, BITS, COMPRESSION, SAMPLES, ROWS, PLANES, TILE_WIDTH, TILE_LENGTH):
            continue
        form = {SHORT: "H", LONG: "L"}[kind]
        inline = struct.calcsize(order + form) * values <= 4
        at = entry + 8 if inline else struct.unpack_from(f"{order}L", data, entry + 8)[0]
        (tags[tag],) = struct.unpack_from(order + form, data, at)
    return tags
