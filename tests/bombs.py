"""Files that a decoder would work on for minutes or fill gigabytes with, none larger than a client may send."""

import struct
import zlib
from collections.abc import Callable, Sequence
from typing import Any

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
    """Return a TIFF directory of `count` entries, each with another tag."""
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


def png_of_kind(side: int, depth: int, colour: int, interlaced: int, channels: int) -> bytes:
    """A PNG whose pixels are all there, and zero: colour 0 is grey, 2 RGB, 3 palette, 6 RGBA."""
    passes = [(8, 8), (8, 8), (4, 8), (4, 4), (2, 4), (2, 2), (1, 2)] if interlaced else [(1, 1)]
    size = sum(-(-side // high) * (1 + -(-side // wide) * channels * depth // 8) for wide, high in passes)
    head = chunk(b"IHDR", struct.pack(">LLBBBBB", side, side, depth, colour, 0, 0, interlaced))
    return PNG + head + chunk(b"IDAT", zlib.compress(bytes(size + 8))) + chunk(b"IEND")


def gif_of_frames(side: int, frames: int) -> bytes:
    """Each frame is one transparent pixel on a large canvas, so that none shows anything."""
    control, image = b"!\xf9\x04\x09\x00\x00\x00\x00", b",\0\0\0\0\1\0\1\0\0\2\2\x44\1\0"
    head = b"GIF89a" + struct.pack("<HH", side, side) + b"\x80\0\0" + bytes([0, 0, 0, 255, 0, 0])
    return head + (control + image) * frames + b";"


def apng_of_frames(side: int, frames: int) -> bytes:
    """Transparent from the first frame to the last."""
    picture = zoo.encode(Image.new("RGBA", (side, side)), "PNG")
    data = picture[picture.index(b"IDAT") + 4 : picture.index(b"IEND") - 8]
    control = struct.pack(">LLLLHHBB", side, side, 0, 0, 1, 10, 0, 0)
    out = picture[:33] + chunk(b"acTL", struct.pack(">LL", frames, 0)) + chunk(b"fcTL", struct.pack(">L", 0) + control)
    out += chunk(b"IDAT", data)
    for number in range(1, frames):
        out += chunk(b"fcTL", struct.pack(">L", 2 * number - 1) + control)
        out += chunk(b"fdAT", struct.pack(">L", 2 * number) + data)
    return out + chunk(b"IEND")


def webp_of_frames(side: int, frames: int) -> bytes:
    images = [Image.new("RGBA", (side, side), (0, 0, number % 256, 0)) for number in range(frames)]
    return zoo.encode(images[0], "WEBP", lossless=True, save_all=True, append_images=images[1:], minimize_size=False)


def raw_bmp(width: int, height: int, bits: int) -> bytes:
    row = (width * bits + 31) // 32 * 4
    sizes = struct.pack("<LllHHLLllLL", 40, width, height, 1, bits, 0, row * height, 0, 0, 2 if bits == 1 else 0, 0)
    palette = bytes(8) if bits == 1 else b""
    start = 14 + len(sizes) + len(palette)
    return b"BM" + struct.pack("<LHHL", 0, 0, 0, start) + sizes + palette + bytes(row * height)


def skipping_rle() -> bytes:
    """Fifty megapixels by jumps over all of them, two bytes each."""
    data = (b"\0\2\0\xff" * (7000 // 255 + 2))[:400] + b"\0\1"
    sizes = struct.pack("<LllHHLLllLL", 40, 7000, 7000, 1, 8, 1, len(data), 0, 0, 256, 0)
    palette = bytes(1024)
    start = 14 + len(sizes) + len(palette)
    return b"BM" + struct.pack("<LHHL", start + len(data), 0, 0, start) + sizes + palette + data


def tall_progressive() -> bytes:
    """No scale leaves enough pixels at its short side, so all are decoded besides the coefficients."""
    return zoo.encode(Image.new("RGB", (65_000, 700)), "JPEG", progressive=True, subsampling=0)


def sampled_progressive() -> bytes:
    """One column whose blocks are 32 wide, as its components are sampled."""
    picture = bytearray(zoo.encode(Image.new("RGB", (8, 60_000)), "JPEG", progressive=True, subsampling=0))
    frame = picture.index(b"\xff\xc2")
    picture[frame + 11] = 0x42
    return bytes(picture)


def unended_jpeg() -> bytes:
    """Decoded twice, to see whether anything is missing."""
    return zoo.encode(Image.new("RGB", (60_000, 700)), "JPEG")[:-2]


def large_tiff(mode: str, side: int, compression: str, **options: Any) -> bytes:
    return zoo.encode(Image.new(mode, (side, side)), "TIFF", compression=compression, **options)


def planes(side: int = 6000) -> bytes:
    data = zlib.compress(bytes(side * side))
    tags: dict[int, Sequence[int] | bytes] = {
        258: [8] * 3,
        259: [8],
        262: [2],
        273: [0] * 3,
        277: [3],
        278: [side],
        279: [len(data)] * 3,
        284: [2],
    }
    return tiff_of(side, side, tags, data)


def turned_tiff() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return large_tiff("CMYK", 7000, "tiff_adobe_deflate", exif=exif)


class Bits:
    """Written from the lowest bit on, as WebP's lossless pictures are."""

    def __init__(self) -> None:
        self.value, self.length, self.data = 0, 0, bytearray()

    def write(self, number: int, count: int) -> None:
        self.value |= number << self.length
        self.length += count
        while self.length >= 8:
            self.data.append(self.value & 255)
            self.value, self.length = self.value >> 8, self.length - 8

    def end(self) -> bytes:
        return bytes(self.data) + bytes([self.value & 255]) + bytes(8)


def webp_of_tables(side: int = 1024, groups: int = 65_536) -> bytes:
    """A lossless picture each of whose blocks of 4 x 4 pixels has five Huffman tables of its own."""
    bits = Bits()
    bits.write(0x2F, 8)
    for number in (side - 1, side - 1):
        bits.write(number, 14)
    bits.write(0, 4)  # no alpha, version 0
    bits.write(0, 1)  # no transform
    bits.write(1, 1)  # a colour cache, which makes tables larger
    bits.write(11, 4)
    bits.write(1, 1)  # several groups of tables
    bits.write(0, 3)  # blocks of 4 x 4
    # The picture that says which block takes which group: red and green are its number. It has one group, whose tables
    # for green, red, blue, alpha and distance are of all 256 symbols, of one, and of one.
    bits.write(0, 1)  # no colour cache
    for table in range(5):
        if table in (0, 1):
            whole_table(bits, 280 if table == 0 else 256)
        else:
            simple_table(bits)
    across = side // 4
    for block in range(across * across):
        number = block % groups
        for value in (number & 255, number >> 8):
            bits.write(int(f"{value:08b}"[::-1], 2), 8)
    for _ in range(groups):
        for _ in range(5):
            simple_table(bits)
    body = bits.end()
    part = b"VP8L" + struct.pack("<L", len(body)) + body + b"\0" * (len(body) % 2)
    return b"RIFF" + struct.pack("<L", 4 + len(part)) + b"WEBP" + part


def simple_table(bits: Bits) -> None:
    """A prefix code with the symbol 0 alone."""
    bits.write(1, 1)
    bits.write(0, 1)
    bits.write(0, 1)
    bits.write(0, 1)


def whole_table(bits: Bits, symbols: int) -> None:
    """The first 256 symbols by 8 bits each, and no others."""
    bits.write(0, 1)
    # Lengths of the codes for lengths, in the format's order 17, 18, 0, 1, 2, 3, 4, 5, 16, 6, 7, 8: 8 alone, and 0.
    bits.write(12 - 4, 4)
    for code in (17, 18, 0, 1, 2, 3, 4, 5, 16, 6, 7, 8):
        bits.write(1 if code in (0, 8) else 0, 3)
    bits.write(0, 1)  # lengths for all symbols
    for symbol in range(symbols):
        bits.write(1 if symbol < 256 else 0, 1)  # of the two codes, the lower symbol has 0


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
    "raw tiff of tiles": lambda: tiff_of(
        64, 64, {322: [16], 323: [16], 324: bytes(4 * 3_900_000), 325: [256]}, bytes(512)
    ),
    "tiff of jpegs": blocks_of_jpeg,
    "tiff with a large tile": lambda: tile(12_000, 12_000),
    "tiff of one column and wide tiles": lambda: tile(4096, 16, 1, 50_000),
    "tiff of tags": big_directory,
    "tiff of blobs": exif_of_blobs,
    "webp with a large canvas": lambda: webp(6900),
    "webp with a larger canvas": lambda: webp(10_000),
    "bmp of runs": rle,
    "webp of tables": webp_of_tables,
    "webp of frames": lambda: webp_of_frames(1000, 60),
    "gif of frames": lambda: gif_of_frames(3500, 200_000),
    "gif of large frames": lambda: gif_of_frames(7000, 1000),
    "apng of frames": lambda: apng_of_frames(3000, 200),
    "png of 16 bits and alpha, interlaced": lambda: png_of_kind(7000, 16, 6, 1, 4),
    "png of a palette, interlaced": lambda: png_of_kind(7000, 8, 3, 1, 1),
    "bmp of one bit": lambda: raw_bmp(11_000, 4_500, 1),
    "bmp of jumps": skipping_rle,
    "tall progressive": tall_progressive,
    "sampled progressive": sampled_progressive,
    "jpeg without an end": unended_jpeg,
    "turned tiff": turned_tiff,
    "tiff of floats": lambda: large_tiff("F", 7000, "tiff_lzw"),
    "tiff of planes": planes,
    "tiff of one strip": lambda: large_tiff("RGBA", 7000, "tiff_adobe_deflate", tiffinfo={278: 7000}),
    "tiff of a predictor": lambda: large_tiff("RGB", 7000, "tiff_lzw", tiffinfo={317: 2}),
    "progressive cmyk": lambda: zoo.encode(Image.new("CMYK", (7000, 7000)), "JPEG", progressive=True),
}


# Good pictures of about ten megapixels, as large as anybody sends.
LARGE: dict[str, Callable[[], bytes]] = {
    "jpeg": lambda: zoo.encode(Image.new("RGB", (20_000, 500)), "JPEG"),
    "progressive jpeg": lambda: zoo.encode(Image.new("RGB", (4000, 3000)), "JPEG", progressive=True),
    "png": lambda: zoo.encode(Image.new("RGBA", (4000, 3000)), "PNG"),
    "interlaced png": lambda: png_of_kind(3500, 16, 6, 1, 4),
    "webp": lambda: zoo.encode(Image.new("RGB", (4000, 3000)), "WEBP", lossless=True),
    "gif": lambda: zoo.encode(Image.new("P", (8000, 6000)), "GIF"),
    "tiff": lambda: large_tiff("RGB", 3500, "tiff_lzw", tiffinfo={278: 3500}),
    "bmp": lambda: raw_bmp(11_000, 4_500, 1),
}
