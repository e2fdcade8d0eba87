"""Files that a decoder would work on for minutes or fill gigabytes with, none larger than a client may send."""

import struct
import zlib
from collections.abc import Callable, Sequence

from PIL import Image

from tests import zoo
from tests.mutations import PNG

# As much as a client may send, less the rest of the file.
ROOM = 16 * 2**20 - 100_000


def many(unit: bytes) -> bytes:
    return unit * (ROOM // len(unit))


def chunk(name: bytes, data: bytes = b"") -> bytes:
    return struct.pack(">L", len(data)) + name + data + struct.pack(">L", zlib.crc32(name + data))


def png(width: int, height: int, extra: bytes = b"") -> bytes:
    """Black."""
    head = chunk(b"IHDR", struct.pack(">LLBBBBB", width, height, 8, 0, 0, 0, 0))
    rows = chunk(b"IDAT", zlib.compress(bytes((width + 1) * height)))
    return PNG + head + extra + rows + chunk(b"IEND")


def jpeg(segments: bytes) -> bytes:
    small = zoo.encode(Image.new("RGB", (64, 64)), "JPEG")
    return small[:2] + segments + small[2:]


def jpeg_of_scans(side: int) -> bytes:
    """The last of a progressive picture's scans, a few bytes, again and again; each goes through all of its blocks."""
    picture = zoo.encode(Image.new("L", (side, side), 99), "JPEG", progressive=True)
    end = picture.rindex(b"\xff\xd9")
    last = picture[picture.rindex(b"\xff\xc4") : end]
    return picture[:end] + last * ((ROOM - end) // len(last)) + picture[end:]


def gif(blocks: bytes) -> bytes:
    small = zoo.encode(Image.new("L", (8, 8)), "GIF")
    start = small.index(b",", 13 + 3 * 2 ** ((small[10] & 7) + 1))
    return small[:start] + blocks + small[start:]


def tiff(tags: dict[int, Sequence[int] | bytes], data: bytes) -> bytes:
    """One directory; values in bytes are LONGs that are ready-made. 273 and 324, if 0, point to the data."""
    start = 10 + 12 * len(tags) + 4
    head, tail = b"II*\0" + struct.pack("<LH", 8, len(tags)), b""
    for tag, values in sorted(tags.items()):
        packed = values if isinstance(values, bytes) else struct.pack(f"<{len(values)}L", *values)
        long = len(packed) > 4
        head += struct.pack("<HHL", tag, 4, len(packed) // 4)
        head += struct.pack("<L", start + len(tail)) if long else packed
        tail += packed if long else b""
    return head + bytes(4) + tail + data


def tiff_of(width: int, height: int, tags: dict[int, Sequence[int] | bytes], data: bytes) -> bytes:
    """Grey, of eight bits; offsets of 0 are those of the data."""
    whole = {256: [width], 257: [height], 258: [8], 262: [1], 277: [1], **tags}
    offset = len(tiff(whole, b""))
    for tag in (273, 324):
        if tag in whole:
            whole[tag] = struct.pack("<L", offset) * (len(whole[tag]) // (4 if isinstance(whole[tag], bytes) else 1))
    return tiff(whole, data)


def blocks_of_jpeg() -> bytes:
    """A million strips, all of them the same small JPEG, which libtiff reads anew for each."""
    strip, count = zoo.encode(Image.new("L", (16, 8)), "JPEG"), 1_000_000
    sizes = struct.pack("<L", len(strip)) * count
    tags = {259: [7], 273: bytes(4 * count), 278: [8], 279: sizes}
    return tiff_of(16, 8 * count, tags, strip)


def tile(columns: int, rows: int, width: int = 64, height: int = 64) -> bytes:
    data = zlib.compress(bytes(columns * rows))
    return tiff_of(width, height, {259: [8], 322: [columns], 323: [rows], 324: [0], 325: [len(data)]}, data)


def directory(count: int, kind: int = 3, values: int = 1, offset: int = 0) -> bytes:
    """Of as many entries, each with another tag."""
    entries = b"".join(struct.pack("<HHLL", tag % 2**16, kind, values, offset) for tag in range(count))
    return b"II*\0" + struct.pack("<LH", 8, min(count, 2**16 - 1)) + entries + bytes(4)


def big_directory() -> bytes:
    """BigTIFF: its counts have 64 bits."""
    entries = b"".join(struct.pack("<HHQQ", tag % 2**16, 3, 1, 5) for tag in range(800_000))
    return b"II\x2b\0" + struct.pack("<HHQQ", 8, 0, 16, 800_000) + entries + bytes(8)


def exif_of_blobs() -> bytes:
    """Sixty thousand tags, each of which claims most of the file as its value."""
    exif = directory(60_000, 7, 14 * 2**20)
    return exif + bytes(14 * 2**20 + 100 - len(exif))


def webp(canvas: int) -> bytes:
    """An animation of one small frame on a large canvas."""

    def part(name: bytes, data: bytes) -> bytes:
        return name + struct.pack("<L", len(data)) + data + b"\0" * (len(data) % 2)

    frame = zoo.encode(Image.new("RGB", (8, 8)), "WEBP", lossless=True)[12:]
    place = bytes(6) + b"\x07\0\0" * 2 + b"\x64\0\0\0"
    parts = part(b"VP8X", b"\x02\0\0\0" + (canvas - 1).to_bytes(3, "little") * 2)
    parts += part(b"ANIM", bytes(6)) + part(b"ANMF", place + frame)
    return part(b"RIFF", b"WEBP" + parts)


def rle() -> bytes:
    """A BMP whose every pixel is a run of its own, which Pillow decodes in Python."""
    data = many(b"\x01\x07")
    palette = bytes(1024)
    sizes = struct.pack("<LllHHLLllLL", 40, 3800, 2100, 1, 8, 1, len(data), 0, 0, 256, 0)
    start = 14 + len(sizes) + len(palette)
    return b"BM" + struct.pack("<LHHL", start + len(data), 0, 0, start) + sizes + palette + data


BOMBS: dict[str, Callable[[], bytes]] = {
    "jpeg of large scans": lambda: jpeg_of_scans(7000),
    "jpeg of small scans": lambda: jpeg_of_scans(512),
    "jpeg of comments": lambda: jpeg(many(b"\xff\xfe\0\x02")),
    "jpeg of padding": lambda: jpeg(many(b"\xff")),
    "jpeg of exif": lambda: jpeg(many(b"\xff\xe1\0\x09Exif\0\0x")),
    "png of chunks": lambda: png(64, 64, many(chunk(b"abCd"))),
    "png of profiles": lambda: png(64, 64, many(chunk(b"iCCP", b"k\0\0" + zlib.compress(bytes(2**20 - 1), 9)))),
    "png of texts": lambda: png(64, 64, many(chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(2**20 - 1), 9)))),
    "png with exif of blobs": lambda: png(64, 64, chunk(b"eXIf", exif_of_blobs())),
    "png of one column": lambda: png(1, 50_000_000),
    "gif of blocks": lambda: gif(many(b"!\xf9\0")),
    "gif of comments": lambda: gif(many(b"!\xfe\x01a\0")),
    "tiff of strips": lambda: tiff_of(64, 64, {273: bytes(4 * 3_900_000), 278: [63], 279: [4096]}, bytes(8192)),
    "tiff of jpegs": blocks_of_jpeg,
    "tiff with a large tile": lambda: tile(12_000, 12_000),
    "tiff of one column and wide tiles": lambda: tile(4096, 16, 1, 50_000),
    "tiff of tags": big_directory,
    "tiff of blobs": exif_of_blobs,
    "webp with a large canvas": lambda: webp(6900),
    "webp with a larger canvas": lambda: webp(10_000),
    "bmp of runs": rle,
    "progressive cmyk": lambda: zoo.encode(Image.new("CMYK", (7000, 7000)), "JPEG", progressive=True),
}
