"""Metadata of picture files. Pixels decide: text, profiles and thumbnails are passed over before Pillow sees
them, because it refuses a good picture for a bad one of these, or spends seconds and gigabytes on it.
"""

import re
import struct
import zlib

from handler.problem import Problem

EXIF = b"Exif\0\0"
ORIENTATION_TAG = 0x0112
XMP_ORIENTATION = re.compile(rb'tiff:Orientation(?:="|>)([0-9])')
# struct's letter and the number of them in one value, by EXIF's type.
NUMBERS = {1: "B", 2: "B", 3: "H", 4: "L", 5: "LL", 6: "b", 7: "B", 8: "h", 9: "l", 10: "ll", 11: "f", 12: "d"}
ASCII, RATIONALS = 2, (5, 10)

PNG = b"\x89PNG\r\n\x1a\n"
# What an ancillary chunk must have to be shown to Pillow: these change pixels, or turn them.
PNG_KEPT = (b"tRNS", b"eXIf", b"sBIT", b"acTL", b"fcTL", b"fdAT")
# Harmless, small and in most files: to leave them spares a copy.
PNG_SMALL = {b"gAMA": 4, b"cHRM": 32, b"sRGB": 1, b"pHYs": 9, b"tIME": 7}
PNG_CRITICAL = (b"IHDR", b"PLTE", b"IDAT", b"IEND")
# Texts that say how a picture is turned, and how much of one is read.
PNG_TEXTS = (b"XML:com.adobe.xmp", b"Raw profile type exif")
MAX_TEXT = 2**18

SOI, EOI = b"\xff\xd8", b"\xff\xd9"
# Markers that stand alone, without a length.
JPEG_ALONE = frozenset((0x01, *range(0xD0, 0xD8)))
JPEG_METADATA = frozenset((*range(0xE0, 0xF0), 0xFE))
# JFIF's and Adobe's say what the colours are, where they are as long as they must be.
JPEG_COLOURS = {0xE0: 16, 0xEE: 14}
# A large profile takes 255 segments; no program writes as many as this.
MAX_SEGMENTS, FEW_SEGMENTS = 5_000, 300


def lean_png(data: bytes) -> bytes:
    """The picture without ancillary chunks that change no pixel, and without those whose checksum is wrong.

    Critical chunks stay as they are, for Pillow to judge.
    """
    view, at, copied, out = memoryview(data), len(PNG), 0, bytearray()
    while at + 8 <= len(data):
        (length,) = struct.unpack_from(">L", data, at)
        name, end = data[at + 4 : at + 8], at + 12 + length
        if not (name in PNG_CRITICAL or (end <= len(data) and _is_kept(name, view[at + 8 : end - 4], view[at:end]))):
            if not name.isalpha() or not name[0] & 0x20:
                break  # neither a chunk nor ancillary: what follows is not for us to understand
            out += view[copied:at]
            copied = min(end, len(data))
        at = end
        if name == b"IEND":
            break
    if not copied:
        return data
    out += view[copied:]
    return bytes(out)


def _is_kept(name: bytes, content: memoryview, chunk: memoryview) -> bool:
    if name in PNG_SMALL:
        fits = len(content) == PNG_SMALL[name]
    elif name in (b"tEXt", b"zTXt", b"iTXt"):
        fits = bytes(content[:80]).partition(b"\0")[0] in PNG_TEXTS and _text_length(name, content) <= MAX_TEXT
    else:
        fits = name in PNG_KEPT
    return fits and zlib.crc32(chunk[4:-4]) == struct.unpack(">L", chunk[-4:])[0]


def _text_length(name: bytes, content: memoryview) -> int:
    """Bytes of a text once it is decompressed, as far as they matter."""
    if len(content) > MAX_TEXT or name == b"tEXt":
        return len(content)
    _, _, rest = bytes(content).partition(b"\0")
    if name == b"iTXt":
        if rest[:1] != b"\1":
            return len(content)
        # After the method, the language and the keyword in that language.
        rest = b"\0" + rest[2:].partition(b"\0")[2].partition(b"\0")[2]
    try:
        return len(zlib.decompressobj().decompress(rest[1:], MAX_TEXT + 1))
    except zlib.error:
        return MAX_TEXT + 1


def lean_jpeg(data: bytes, strict: bool = False) -> tuple[bytes, int]:
    """The picture without needless segments before its first scan, and where that scan begins.

    Args:
        strict: keep only what says how colours are stored. Otherwise a picture of a usual number of segments stays as
            it is, and of others the first EXIF is kept too.

    Raises:
        Problem: 422, there are more segments than any picture has.
    """
    segments: list[tuple[int, int, int]] = []
    at, needless = 2, 0
    while True:
        marked = data.find(b"\xff", at)
        if marked < 0 or marked + 4 > len(data):
            return data, len(data)
        needless += marked - at
        marker, at = data[marked + 1], marked + 2
        if marker in (0x00, 0xFF) or marker in JPEG_ALONE:
            at = marked + (1 if marker == 0xFF else 2)
            needless += 1
            if marker == 0xFF and data.startswith(b"\xff" * 64, marked):  # padding, of which there may be megabytes
                stop = re.compile(rb"[^\xff]").search(data, marked)
                at = stop.start() - 1 if stop else len(data)
                needless += at - marked
            continue
        if marker == 0xDA:
            break
        end = at + int.from_bytes(data[at : at + 2], "big")
        segments.append((marker, marked, end))
        if len(segments) > MAX_SEGMENTS:
            raise Problem(422, "corrupt_image", f"The JPEG picture has more than {MAX_SEGMENTS} segments.")
        at = max(end, at + 2)
    exifs = sum(marker == 0xE1 and data.startswith(EXIF, start + 4) for marker, start, _ in segments)
    if not strict and len(segments) <= FEW_SEGMENTS and exifs <= 1 and needless < 1024:
        return data, marked
    out, has_exif = bytearray(SOI), False
    for marker, start, end in segments:
        is_exif = marker == 0xE1 and data.startswith(EXIF, start + 4)
        says_colours = marker in JPEG_COLOURS and end - start - 2 >= JPEG_COLOURS[marker]
        if marker not in JPEG_METADATA or says_colours or (is_exif and not has_exif and not strict):
            out += data[start:end]
        has_exif = has_exif or is_exif
    begin = len(out)
    out += memoryview(data)[marked:]
    return bytes(out), begin


def lean_webp(data: bytes) -> bytes:
    """The picture without profile, EXIF and XMP; whatever length its header claims, as much as is there."""
    kept, at = [], 12
    while at + 8 <= len(data):
        name, length = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
        end = at + 8 + length + length % 2
        if name == b"VP8X" and length >= 10:
            # Bits: profile 32, alpha 16, EXIF 8, XMP 4, animation 2.
            kept.append(data[at : at + 8] + bytes([data[at + 8] & 18]) + data[at + 9 : end])
        elif name in (b"VP8 ", b"VP8L", b"ALPH", b"ANIM", b"ANMF"):
            kept.append(data[at:end])
        at = end
    body = b"WEBP" + b"".join(kept)
    return b"RIFF" + len(body).to_bytes(4, "little") + body


def webp_size(data: bytes) -> tuple[int, int] | None:
    """Width and height of the canvas, by the header alone; None for what is no WebP, or broken."""
    if data[:4] != b"RIFF" or data[8:12] != b"WEBP" or len(data) < 30:
        return None
    if data[12:16] == b"VP8X":
        return 1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little")
    if data[12:16] == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    width, height = struct.unpack_from("<HH", data, 26)
    return width & 0x3FFF, height & 0x3FFF


def read_orientation(exif: bytes | None, xmp: bytes | str | None) -> int:
    """1 to 8 by EXIF, or else by XMP; 1 where neither says it, or says it so that nobody can tell."""
    turn = _exif_orientation(exif) if exif else None
    if turn is None and xmp:
        match = XMP_ORIENTATION.search(xmp.encode(errors="replace") if isinstance(xmp, str) else xmp)
        turn = int(match[1]) if match else None
    return turn if turn is not None and 1 <= turn <= 8 else 1


def _exif_orientation(exif: bytes) -> int | None:
    """Return the value as it is in the file, right or not; None where there is none."""
    while exif.startswith(EXIF):
        exif = exif[len(EXIF) :]
    order = {b"II": "<", b"MM": ">"}.get(exif[:2])
    if order is None:
        return None
    try:
        (start,) = struct.unpack_from(f"{order}L", exif, 4)
        (count,) = struct.unpack_from(f"{order}H", exif, start)
        for entry in range(start + 2, start + 2 + 12 * count, 12):
            if struct.unpack_from(f"{order}H", exif, entry) == (ORIENTATION_TAG,):
                return whole_number(exif, entry, order)
    except struct.error:
        pass
    return None


def whole_number(data: bytes, entry: int, order: str) -> int | None:
    """The first value of a directory's entry, of whatever type; 0 where it is no whole number.

    Raises:
        struct.error: it is not in `data`.
    """
    kind, count = struct.unpack_from(f"{order}HL", data, entry + 2)
    if kind not in NUMBERS or count == 0:
        return 0
    form = order + NUMBERS[kind]
    inline = struct.calcsize(form) * count <= 4
    at = entry + 8 if inline else struct.unpack_from(f"{order}L", data, entry + 8)[0]
    values = struct.unpack_from(form, data, at)
    if kind in RATIONALS:
        return values[0] // values[1] if values[1] and values[0] % values[1] == 0 else 0
    if kind == ASCII:
        return int(chr(values[0])) if chr(values[0]) in "12345678" else 0
    return int(values[0]) if values[0] == values[0] and abs(values[0]) < 2**32 and values[0] % 1 == 0 else 0
