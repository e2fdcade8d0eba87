"""Recognise file formats by their first bytes, so that a refusal names the format and says what to send instead."""

import re

PICTURES = "JPEG, PNG, WebP, GIF, TIFF or BMP"
# What begins a picture that is read. Some programs put a line break or a byte order mark before it.
START = re.compile(rb"\xff\xd8\xff[\xc0-\xfe]|\x89PNG\r\n\x1a\n|RIFF....WEBP|GIF8[79]a|II\*\0|MM\0\*", re.DOTALL)
# Where a picture may begin.
MAX_LEAD = 512
SPACE = b" \t\r\n\0"
BYTE_ORDER_MARK = b"\xef\xbb\xbf"

BRANDS = {
    b"heic": "HEIC", b"heix": "HEIC", b"hevc": "HEIC", b"hevx": "HEIC", b"heim": "HEIC", b"heis": "HEIC",
    b"mif1": "HEIC", b"msf1": "HEIC", b"avif": "AVIF", b"avis": "AVIF", b"crx ": "a camera's raw file (CR3)",
    b"jxl ": "JPEG XL", b"qt  ": "a QuickTime video",
}  # fmt: skip
# Longer ones before those that they begin with.
MAGIC: tuple[tuple[bytes, str], ...] = (
    (b"\xff\x0a", "JPEG XL"),
    (b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL"),
    (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG 2000"),
    (b"\xff\x4f\xff\x51", "JPEG 2000"),
    (b"II\xbc\x01", "JPEG XR"),
    (b"8BPS", "a Photoshop document"),
    (b"FUJIFILMCCD-RAW", "a camera's raw file (RAF)"),
    (b"IIRO", "a camera's raw file (ORF)"),
    (b"IIRS", "a camera's raw file (ORF)"),
    (b"MMOR", "a camera's raw file (ORF)"),
    (b"IIU\0", "a camera's raw file (RW2)"),
    (b"FOVb", "a camera's raw file (X3F)"),
    (b"%PDF-", "a PDF document"),
    (b"%!PS", "a PostScript document"),
    (b"\x1aE\xdf\xa3", "a WebM or Matroska video"),
    (b"\0\0\x01\xba", "an MPEG video"),
    (b"\0\0\x01\xb3", "an MPEG video"),
    (b"FLV\x01", "a Flash video"),
    (b"OggS", "an Ogg audio or video file"),
    (b"ID3", "an MP3 audio file"),
    (b"fLaC", "a FLAC audio file"),
    (b"\x1f\x8b", "data compressed by gzip"),
    (b"PK\x03\x04", "a zip archive or an Office document"),
    (b"PK\x05\x06", "an empty zip archive"),
    (b"BZh", "data compressed by bzip2"),
    (b"\xfd7zXZ\0", "data compressed by xz"),
    (b"\x28\xb5\x2f\xfd", "data compressed by zstd"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive"),
    (b"Rar!", "a RAR archive"),
    (b"\0\0\x01\0", "a Windows icon"),
    (b"\0\0\x02\0", "a Windows cursor"),
    (b"icns", "a macOS icon"),
    (b"qoif", "QOI"),
    (b"SIMPLE  =", "FITS"),
    (b"v/1\x01", "OpenEXR"),
    (b"#?RADIANCE", "Radiance HDR"),
    (b"DDS ", "DDS"),
    (b"\x93NUMPY", "a NumPy array"),
    (b"\x89HDF\r\n\x1a\n", "HDF5"),
    (b"bplist00", "a property list"),
    (b"\x7fELF", "a program"),
    (b"MZ", "a program"),
)
# What is inside the file says what to do with it.
ADVICE = {
    "JSON": "send KServe's JSON to its own paths, or the bytes of the picture here",
    "data compressed by gzip": "send it uncompressed",
    "base64": "it does not decode to a picture",
    "a form": "name its boundary in the content type: Content-Type: multipart/form-data; boundary=...",
    "an HTML page": "send the picture itself, not the page that shows it",
    "a URL": "fetch the picture, and send its bytes",
}
BASE64 = re.compile(rb"\s*(?:data:[^,]{0,200};base64,)?[A-Za-z0-9+/_\-\s]{16,}={0,2}\s*", re.IGNORECASE)


def picture_start(data: bytes) -> int:
    """Return the offset at which the picture begins, after a few bytes of something else; 0 where none is known."""
    if is_picture(data) or kind_of(data) is not None:
        return 0
    match = START.search(data, 0, MAX_LEAD)
    if match:
        return match.start()
    lead = len(data[:MAX_LEAD]) - len(data[:MAX_LEAD].removeprefix(BYTE_ORDER_MARK).lstrip(SPACE))
    return lead if lead and data.startswith(b"BM", lead) else 0


def is_picture(data: bytes) -> bool:
    """Whether the bytes begin as a picture of a format that is read."""
    return START.match(data) is not None or data.startswith(b"BM")


def kind_of(data: bytes) -> str | None:
    """A name for what is no picture that is read here; None for what is one by its first bytes, or unknown."""
    for magic, name in MAGIC:
        if data.startswith(magic):
            return name
    if data[4:8] == b"ftyp":
        return _brand(data)
    if data[4:8] in (b"moov", b"mdat", b"wide", b"free"):
        return "a QuickTime video"
    if data[:4] == b"RIFF":
        return {b"AVI ": "an AVI video", b"WAVE": "a WAV audio file"}.get(data[8:12])
    if re.match(rb"P[1-7]\s", data):
        return "PNM"
    if data[:2] in (b"II", b"MM") and data[2:4] in (b"+\0", b"\0+"):
        return "BigTIFF"
    return _text(data)


def _brand(data: bytes) -> str:
    """Name the format of an ISO media file by its brands."""
    size = min(int.from_bytes(data[:4], "big"), 256, len(data))
    brands = [data[8:12], *(data[at : at + 4] for at in range(16, size, 4))]
    # `mif1` is common to both, the other names the codec.
    named = [
        BRANDS[brand] for brand in sorted(brands, key=lambda brand: brand in (b"mif1", b"msf1")) if brand in BRANDS
    ]
    return named[0] if named else "an MP4 video"


def _text(data: bytes) -> str | None:
    if data[:2] in (b"\xff\xfe", b"\xfe\xff") and b"\0" in data[:8]:
        return "text in UTF-16"
    head = data[:2048].removeprefix(BYTE_ORDER_MARK).lstrip(b" \t\r\n")
    if not head or b"\0" in head:
        return None
    try:
        head.decode()
    except UnicodeDecodeError as error:
        if error.start < len(head) - 4 or len(data) <= 2048:  # a cut may split the last character
            return None
    if sum(byte < 32 and byte not in b"\t\n\r\f\x1b" for byte in head):
        return None
    lower = head[:1024].lower()
    if lower.startswith((b"<!doctype html", b"<html", b"<head", b"<body")):
        return "an HTML page"
    if b"<svg" in lower and lower.startswith(b"<"):
        return "SVG"
    if lower.startswith(b"<"):
        return "XML"
    if lower.startswith((b"{", b"[")):
        return "JSON"
    if lower.startswith((b"http://", b"https://")) and len(data) < 2048:
        return "a URL"
    if head.startswith(b"--") and b"content-disposition:" in lower:
        return "a form"
    if BASE64.fullmatch(head) or lower.startswith(b"data:"):
        return "base64"
    return "text"


def name_of(data: bytes) -> str:
    """The sentence that refuses what is no picture, or is one that cannot be read."""
    kind = kind_of(data)
    if kind is None:
        if is_picture(data):
            return f"The picture's header is broken, or of a kind that is not read here. Send a {PICTURES}."
        return f"This is not a picture that can be read. Send a {PICTURES}."
    if kind in ADVICE:
        return f"This is {kind}, not a picture: {ADVICE[kind]}."
    return f"This is {kind}, which is not read here. Send a {PICTURES}."
