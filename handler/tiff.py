"""Checks of a TIFF before its decoders, which nothing can interrupt: its directory is read here first, and what is not
needed to decode it left out. A picture of 64 x 64 pixels may name tiles of gigabytes, or millions of them.
"""

import contextlib
import ctypes
import math
import struct
from dataclasses import dataclass

from PIL import Image

from handler.metadata import NUMBERS, whole_number
from handler.problem import Problem

# libtiff knows more: JPEG as it was before 1995, and rare ones, some of which take any amount of memory.
COMPRESSIONS = (1, 2, 3, 4, 5, 7, 8, 32773, 32946)
RAW, JPEG = 1, 7
# Most programs write blocks of 8 KiB: 25,000 of them are 50 megapixels of RGBA. One costs up to 50 us.
MAX_BLOCKS = 32_768
WIDTH, LENGTH, BITS, COMPRESSION, PHOTOMETRIC, ORIENTATION, SAMPLES, ROWS, PLANES, TILE_WIDTH, TILE_LENGTH = (
    *(256, 257, 258, 259, 262, 274, 277, 278, 284, 322, 323),
)
OFFSETS = (273, 279, 324, 325)
MAX_SAMPLE, FORMAT, SMIN_SAMPLE, SMAX_SAMPLE, XMP = 281, 339, 340, 341, 700
UNSIGNED, SIGNED, FLOAT = 1, 2, 3
SHORT, LONG = 3, 4
# What decoding needs: besides the above, the order of bits, options of fax and LZW, colours, JPEG's tables.
NEEDED = frozenset(
    (
        *(WIDTH, LENGTH, BITS, COMPRESSION, PHOTOMETRIC, 266, SAMPLES, ROWS, PLANES, TILE_WIDTH, TILE_LENGTH, FORMAT),
        *(*OFFSETS, 292, 293, 317, 320, 332, 338, 347, 529, 530, 531, 532),
    )
)


@dataclass(frozen=True, slots=True)
class Samples:
    """The tags of a TIFF that say how its samples are to be read."""

    bits: int
    format: int
    white_is_zero: bool
    black: float | None
    """Value of the tag in the file; None where there is none."""
    white: float | None
    most: int | None
    """MaxSampleValue, which by the format's rules is no white, but tells how many bits are used."""


def silence() -> None:
    """libtiff writes what is wrong with a picture to standard error, past Python: a client must not fill our log."""
    # Finds what Pillow itself is linked with; a build that hides it only logs more.
    with contextlib.suppress(OSError, AttributeError):
        library = ctypes.CDLL(Image.core.__file__)  # type: ignore[attr-defined]
        library.TIFFSetErrorHandler(None)
        library.TIFFSetWarningHandler(None)


class Tiff:
    """The first directory of a TIFF.

    Raises:
        Problem: 422, it is broken; 415, it is of 64 bits, for files above 4 GiB.
    """

    def __init__(self, data: bytes) -> None:
        self.data = data
        if data[2:3] == b"\x2b" or data[3:4] == b"\x2b":
            raise Problem(415, "unsupported_image", "BigTIFF is not read here: save the picture as a classic TIFF.")
        try:
            self.order = {b"II*\0": "<", b"MM\0*": ">"}[data[:4]]
            (self.start,) = struct.unpack_from(f"{self.order}L", data, 4)
            (self.count,) = struct.unpack_from(f"{self.order}H", data, self.start)
            # libtiff and Pillow take the first of several entries with one tag.
            self.entries: dict[int, int] = {}
            for entry in range(self.start + 2, self.start + 2 + 12 * self.count, 12):
                (tag,) = struct.unpack_from(f"{self.order}H", data, entry)
                struct.unpack_from("12s", data, entry)
                self.entries.setdefault(tag, entry)
        except (struct.error, KeyError) as error:
            raise _broken() from error

    def largest_block(self, max_pixels: int) -> int:
        """Bytes that libtiff takes for its largest block, decoded; 0 where nothing is compressed, which Pillow reads.

        Raises:
            Problem: 415 for what is not decoded here, 422 for blocks that cost more than the picture.
        """
        try:
            if self._number(COMPRESSION, 1) not in COMPRESSIONS:
                detail = "The TIFF picture is compressed in a way that is not read here: save it with LZW or Deflate."
                raise Problem(415, "unsupported_image", detail)
            width, length, samples = self._number(WIDTH), self._number(LENGTH), self._number(SAMPLES, 1)
            tiled = TILE_WIDTH in self.entries
            columns = self._number(TILE_WIDTH) if tiled else width
            rows = self._number(TILE_LENGTH) if tiled else min(self._number(ROWS, length), length)
            planes = samples if self._number(PLANES, 1) == 2 else 1
            compressed = self._number(COMPRESSION, 1) != RAW
            planned = math.ceil(width / columns) * math.ceil(length / rows) * planes
            # Whatever the picture needs, all offsets that are there become Python's numbers.
            blocks = max(planned, *(self._count(tag) for tag in OFFSETS))
            # Tiles stick out at the right and at the bottom.
            if blocks > MAX_BLOCKS or (compressed and planned * columns * rows > 2 * max_pixels):
                detail = f"The TIFF picture has {blocks} blocks of {columns} x {rows} pixels."
                raise Problem(422, "corrupt_image", detail)
            if not compressed:
                return 0
            block = columns * rows * samples * self._number(BITS, 1) // 8
            # A progressive JPEG keeps its coefficients, of two bytes each.
            return block + (2 * columns * rows * samples if self._number(COMPRESSION, 1) == JPEG else 0)
        except (struct.error, KeyError, ZeroDivisionError) as error:
            raise _broken() from error

    def samples(self) -> Samples:
        """Return the tags that say how the picture's samples are to be read.

        Raises:
            Problem: as the class.
        """
        try:
            kind, bits = self._number(FORMAT, UNSIGNED), self._number(BITS, 1)
            black, white = self._value(SMIN_SAMPLE), self._value(SMAX_SAMPLE)
            most = self._value(MAX_SAMPLE)
            return Samples(bits, kind, self._number(PHOTOMETRIC, 0) == 0, black, white, int(most) if most else None)
        except (struct.error, KeyError) as error:
            raise _broken() from error

    def orientation(self) -> int | None:
        """Value of the tag in the file, right or not; None where there is none."""
        try:
            return whole_number(self.data, self.entries[ORIENTATION], self.order)
        except (struct.error, KeyError):
            return None

    def xmp(self) -> bytes | None:
        """The first 256 KiB."""
        if XMP not in self.entries:
            return None
        kind, count, at = struct.unpack_from(f"{self.order}HLL", self.data, self.entries[XMP] + 2)
        return self.data[at : at + min(count, 2**18)] if kind in (1, 7) and count > 4 else None

    def lean(self) -> bytes:
        """The file with a directory of what decoding needs alone, and without further pages."""
        kept = [self.data[at : at + 12] for tag, at in self.entries.items() if tag in NEEDED]
        directory = struct.pack(f"{self.order}H", len(kept)) + b"".join(kept) + bytes(4)
        if len(kept) == self.count and self.data.startswith(directory, self.start):
            return self.data
        return b"".join((self.data[: self.start], directory, memoryview(self.data)[self.start + len(directory) :]))

    def _number(self, tag: int, default: int | None = None) -> int:
        """The first value.

        Raises:
            KeyError: there is none, or of a type that only one of libtiff and Pillow reads.
        """
        if tag not in self.entries and default is not None:
            return default
        entry = self.entries[tag]
        (kind,) = struct.unpack_from(f"{self.order}H", self.data, entry + 2)
        if kind not in (SHORT, LONG):
            raise KeyError(tag)
        return whole_number(self.data, entry, self.order) or 0

    def _value(self, tag: int) -> float | None:
        """The first value of any type of number; None where there is none."""
        if tag not in self.entries:
            return None
        kind, count = struct.unpack_from(f"{self.order}HL", self.data, self.entries[tag] + 2)
        if kind not in NUMBERS or not count:
            return None
        form = self.order + NUMBERS[kind]
        at = self.entries[tag] + 8
        if struct.calcsize(form) * count > 4:
            (at,) = struct.unpack_from(f"{self.order}L", self.data, at)
        first, *second = struct.unpack_from(form, self.data, at)
        number = float(first) / second[0] if second and second[0] else float(first)
        return number if math.isfinite(number) else None

    def _count(self, tag: int) -> int:
        if tag not in self.entries:
            return 0
        (count,) = struct.unpack_from(f"{self.order}L", self.data, self.entries[tag] + 4)
        return int(count)


def _broken() -> Problem:
    return Problem(422, "corrupt_image", "The TIFF picture's directory is broken.")
