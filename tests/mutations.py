"""Small pictures of every format that is read, and what may become of them: by bad memory, half an upload or malice."""

import random
import re
import struct
import zlib
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from PIL import Image, ImageCms
from PIL.PngImagePlugin import PngInfo

from tests import zoo

PNG = b"\x89PNG\r\n\x1a\n"
# What counts, lengths and sizes lie with.
NUMBERS = (0, 1, 2, 7, 0x7F, 0x80, 0xFF, 0x100, 7000, 0x7FFF, 0x8000, 0xFFFF, 0x10000, 2**31 - 1, 2**31, 2**32 - 1)


def pictures() -> list[bytes]:
    rgb = zoo.photo().resize((96, 72))
    grey, palette, alpha, cmyk = rgb.convert("L"), rgb.quantize(64), rgb.convert("RGBA"), rgb.convert("CMYK")
    alpha.putalpha(grey)
    sixteen = Image.fromarray(np.asarray(grey).astype(np.uint16) * 257)
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "A camera"
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    # Without the second in which it was made (ICC.1:2022, 7.2): the pictures are the same each time.
    profile = profile[:24] + bytes(12) + profile[36:]
    text = PngInfo()
    text.add_text("Comment", "much said " * 50, zip=True)

    def more() -> dict[str, object]:
        # Anew each time: an image that was saved as a JPEG cannot be saved as a TIFF (Pillow 13).
        return {"save_all": True, "append_images": [rgb.rotate(90), rgb.rotate(180)]}

    return [
        zoo.encode(rgb, "JPEG", exif=exif, icc_profile=profile, comment=b"by hand"),
        zoo.encode(cmyk, "JPEG"),
        zoo.encode(grey, "JPEG", restart_marker_blocks=2),
        zoo.encode(rgb, "JPEG", progressive=True, subsampling=0),
        zoo.encode(rgb, "MPO", exif=exif, **more()),
        zoo.encode(rgb, "PNG", exif=exif, icc_profile=profile, pnginfo=text),
        zoo.encode(alpha, "PNG"),
        zoo.encode(alpha.convert("LA"), "PNG"),
        zoo.encode(sixteen, "PNG"),
        zoo.encode(palette, "PNG", transparency=3),
        zoo.encode(grey.convert("1"), "PNG"),
        zoo.encode(rgb, "PNG", **more()),
        zoo.encode(rgb, "WEBP", exif=exif),
        zoo.encode(alpha, "WEBP", lossless=True),
        zoo.encode(rgb, "WEBP", **more()),
        zoo.encode(palette, "GIF", transparency=3),
        zoo.encode(rgb, "GIF", **more()),
        zoo.encode(rgb.copy(), "TIFF", exif=exif, **more()),
        zoo.encode(alpha, "TIFF", compression="tiff_lzw"),
        zoo.encode(rgb, "TIFF", compression="jpeg"),
        zoo.encode(cmyk, "TIFF", compression="tiff_adobe_deflate"),
        zoo.encode(sixteen, "TIFF", compression="packbits"),
        zoo.encode(grey.convert("1"), "TIFF", compression="group4"),
        zoo.encode(rgb, "BMP"),
        zoo.encode(palette, "BMP"),
        zoo.encode(alpha, "BMP"),
    ]


def mutants(seed: int, count: int) -> Iterator[bytes]:
    """The same for the same seed."""
    dice, sound = random.Random(seed), pictures()
    for _ in range(count):
        data = dice.choice(sound)
        for _ in range(dice.choice((1, 1, 1, 2, 3))):
            data = dice.choice(MUTATIONS)(dice, data, sound) or b"\0"
        # Or a wrong checksum would hide from the decoder what else is wrong.
        yield sealed(data) if data.startswith(PNG) and dice.random() < 0.7 else data


def flipped(dice: random.Random, data: bytes, sound: Sequence[bytes]) -> bytes:
    out = bytearray(data)
    for _ in range(dice.choice((1, 2, 8, 64))):
        out[dice.randrange(len(out))] ^= 1 << dice.randrange(8)
    return bytes(out)


def cut(dice: random.Random, data: bytes, sound: Sequence[bytes]) -> bytes:
    return data[: dice.randrange(len(data))]


def spliced(dice: random.Random, data: bytes, sound: Sequence[bytes]) -> bytes:
    other = dice.choice(sound)
    return data[: dice.randrange(len(data))] + other[dice.randrange(len(other)) :]


def moved(dice: random.Random, data: bytes, sound: Sequence[bytes]) -> bytes:
    """A part is missing, or there twice."""
    start, end = sorted(dice.randrange(len(data)) for _ in range(2))
    return data[:start] + data[end:] if dice.random() < 0.5 else data[:end] + data[start:]


def blotted(dice: random.Random, data: bytes, sound: Sequence[bytes]) -> bytes:
    start, length = dice.randrange(len(data)), dice.choice((1, 4, 64, 512))
    ink = dice.choice((b"\0" * length, b"\xff" * length, dice.randbytes(length)))
    return data[:start] + ink + data[start + length :]


def lied(dice: random.Random, data: bytes, sound: Sequence[bytes]) -> bytes:
    """A number of the header is another: a size, a length, a count, an offset, a tag, an orientation."""
    form, number = dice.choice(("B", "<H", ">H", "<L", ">L")), dice.choice(NUMBERS)
    packed = struct.pack(form, number % 2 ** (8 * struct.calcsize(form)))
    at = min(dice.choice(header(data)), len(data) - 1)
    return data[:at] + packed + data[at + len(packed) :]


def header(data: bytes) -> Sequence[int]:
    """Return the offsets at which a format's important numbers lie."""
    if data[:4] in (b"II*\0", b"MM\0*") and len(data) >= 8:
        (start,) = struct.unpack("<L" if data[:1] == b"I" else ">L", data[4:8])
        return range(start, start + 250)
    segments = [match.start() for match in re.finditer(rb"\xff[\xc0-\xfe]|ANMF|VP8|EXIF|fcTL|Exif", data)]
    return [start + step for start in [0, *segments] for step in range(32)]


def sealed(data: bytes) -> bytes:
    """A PNG whose checksums are right."""
    out, at = bytearray(data), len(PNG)
    while at + 12 <= len(out):
        end = at + 8 + struct.unpack_from(">L", out, at)[0]
        if end + 4 > len(out):
            break
        struct.pack_into(">L", out, end, zlib.crc32(out[at + 4 : end]))
        at = end + 4
    return bytes(out)


MUTATIONS: Sequence[Callable[[random.Random, bytes, Sequence[bytes]], bytes]] = (
    flipped,
    cut,
    spliced,
    moved,
    blotted,
    lied,
    lied,
    lied,
)
