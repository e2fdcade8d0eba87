"""Whatever a good picture says of itself, its pixels are answered; a picture that is cut off is not."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms
from PIL.PngImagePlugin import PngInfo

from handler.load_image import upright
from handler.metadata import lean_jpeg, lean_png, read_orientation
from handler.open_image import open_image
from handler.preprocess import InputSpec, decode
from handler.problem import Problem
from tests import zoo
from tests.bombs import chunk

SPEC = InputSpec(128)
PHOTO = zoo.photo().resize((200, 150))
JPEG, PNG = zoo.encode(PHOTO, "JPEG", quality=95), zoo.encode(PHOTO, "PNG")
WEBP = zoo.encode(PHOTO, "WEBP", quality=95)
SOUND = {"JPEG": JPEG, "PNG": PNG, "WEBP": WEBP}


def tags(entry: bytes, order: str = "<", more: bytes = b"") -> bytes:
    """EXIF of one entry."""
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}LH", 8, 1)
    return head + entry + bytes(4) + more


def entry(kind: int, value: bytes, count: int = 1, order: str = "<", tag: int = 0x0112) -> bytes:
    return struct.pack(f"{order}HHL", tag, kind, count) + value.ljust(4, b"\0")[:4]


def with_exif(kind: str, exif: bytes) -> bytes:
    """Return the value as it stands, right or wrong."""
    if kind == "JPEG":
        content = b"Exif\0\0" + exif
        return JPEG[:2] + b"\xff\xe1" + struct.pack(">H", len(content) + 2) + content + JPEG[2:]
    if kind == "PNG":
        return PNG[:33] + chunk(b"eXIf", exif) + PNG[33:]
    # VP8X says that EXIF follows, and the canvas's size.
    extended = b"\x08\0\0\0" + b"".join((side - 1).to_bytes(3, "little") for side in PHOTO.size)
    body = b"WEBPVP8X" + struct.pack("<L", 10) + extended + WEBP[12:]
    body += b"EXIF" + struct.pack("<L", len(exif)) + exif + b"\0" * (len(exif) % 2)
    return b"RIFF" + struct.pack("<L", len(body)) + body


def same(data: bytes, sound: bytes) -> bool:
    """Decode it as the server and `catsdogs prepare` do."""
    served = np.array_equal(decode(data, SPEC), decode(sound, SPEC))
    return served and np.array_equal(np.asarray(upright(open_image(data))), np.asarray(upright(open_image(sound))))


BAD_EXIF = {
    "no tiff": b"notatiff and more",
    "empty": b"",
    "short": b"II*\0\x08",
    "a directory beyond the end": b"II*\0\xff\xff\xff\x7f",
    "half a directory": b"MM\0*\0\0\0\x08\xff\xff" + bytes(20),
    "a value beyond the end": tags(entry(3, b"\xff\xff\xff\x7f", count=3)),
    "no value": tags(entry(3, b"\6\0", count=0)),
    "an unknown type": tags(entry(99, b"\6\0")),
    "a number that is none": tags(entry(3, b"\x09\0")),
    "zero": tags(entry(3, b"\0\0")),
    "0/0": tags(entry(5, struct.pack("<L", 26)), more=bytes(8)),
    "5/2": tags(entry(5, struct.pack("<L", 26)), more=struct.pack("<LL", 5, 2)),
    "not a number": tags(entry(11, struct.pack("<f", float("nan")))),
    "infinite": tags(entry(11, struct.pack("<f", float("inf")))),
    "a word": tags(entry(2, b"up\0", count=3)),
    "a resolution that is a word": tags(entry(2, b"abc\0", count=4, tag=0x011A)),
}


@pytest.mark.parametrize("kind", SOUND)
@pytest.mark.parametrize("name", BAD_EXIF)
def test_exif_that_says_nothing_is_passed_over(kind: str, name: str) -> None:
    assert same(with_exif(kind, BAD_EXIF[name]), SOUND[kind])


CLEAR_EXIF = {
    "short": tags(entry(3, b"\6\0")),
    "short, big-endian": tags(entry(3, b"\0\6", order=">"), ">"),
    "byte": tags(entry(1, b"\6")),
    "long": tags(entry(4, b"\6\0\0\0")),
    "signed byte": tags(entry(6, b"\6")),
    "signed short": tags(entry(8, b"\6\0")),
    "signed long": tags(entry(9, b"\6\0\0\0")),
    "undefined": tags(entry(7, b"\6")),
    "text": tags(entry(2, b"6\0", count=2)),
    "two of them": tags(entry(3, b"\6\0\1\0", count=2)),
    "6/1": tags(entry(5, struct.pack("<L", 26)), more=struct.pack("<LL", 6, 1)),
    "float": tags(entry(11, struct.pack("<f", 6))),
    "double": tags(entry(12, struct.pack("<L", 26)), more=struct.pack("<d", 6)),
}


@pytest.mark.parametrize("kind", SOUND)
@pytest.mark.parametrize("name", CLEAR_EXIF)
def test_an_orientation_of_any_type_is_read_where_it_is_clear(kind: str, name: str) -> None:
    turned = np.asarray(upright(open_image(with_exif(kind, CLEAR_EXIF[name]))))
    assert np.array_equal(turned, np.rot90(np.asarray(upright(open_image(SOUND[kind]))), -1))


# libtiff writes no other number than these eight.
@pytest.mark.parametrize(
    ("kind", "value"),
    [*((kind, value) for kind in ("raw", "tiff_lzw") for value in range(1, 9)), ("raw", 0), ("raw", 9)],
)
def test_a_tiff_is_turned_as_its_own_tag_says(kind: str, value: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = value
    data = zoo.encode(PHOTO.copy(), "TIFF", compression=kind, exif=exif)
    with Image.open(io.BytesIO(data)) as image:
        image.load()  # Pillow turns a TIFF by itself
        expected = np.asarray(image)
    assert np.array_equal(np.asarray(upright(open_image(data))), expected)


def test_xmp_is_asked_where_exif_says_nothing() -> None:
    xmp = b'<rdf:Description tiff:Orientation="6"/>'
    assert read_orientation(None, xmp) == 6
    assert read_orientation(tags(entry(3, b"\3\0")), xmp) == 3
    text = PngInfo()
    text.add_itxt("XML:com.adobe.xmp", xmp.decode(), zip=True)
    turned = upright(open_image(zoo.encode(PHOTO, "PNG", pnginfo=text)))
    assert turned.size == (150, 200)


def itxt(value: bytes, packed: bool) -> bytes:
    return (
        b"XML:com.adobe.xmp\0" + (b"\1" if packed else b"\0") + b"\0\0\0" + (zlib.compress(value) if packed else value)
    )


MEGABYTES = bytes(range(32, 127)) * 30_000
PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
ANCILLARY: dict[str, bytes] = {
    "compressed text of megabytes": chunk(b"zTXt", b"k\0\0" + zlib.compress(MEGABYTES)),
    "text of megabytes": chunk(b"tEXt", b"k\0" + MEGABYTES),
    "compressed xmp of megabytes": chunk(b"iTXt", itxt(MEGABYTES, packed=True)),
    "xmp of megabytes": chunk(b"iTXt", itxt(MEGABYTES, packed=False)),
    "profile of megabytes": chunk(b"iCCP", b"k\0\0" + zlib.compress(MEGABYTES)),
    "exif of imagemagick, which is none": chunk(b"tEXt", b"Raw profile type exif\0no hexadecimal"),
    "profile of an unknown compression": chunk(b"iCCP", b"k\0\7" + zlib.compress(PROFILE)),
    "empty profile": chunk(b"iCCP"),
    "short pHYs": chunk(b"pHYs", b"\0"),
    "short gAMA": chunk(b"gAMA"),
    "short cHRM": chunk(b"cHRM", bytes(8)),
    "short sRGB": chunk(b"sRGB"),
    "text that is none": chunk(b"tEXt", b"\xff"),
    "unknown chunk": chunk(b"abCd", bytes(100)),
    **{
        f"wrong checksum of {name.decode()}": chunk(name, content)[:-1] + b"?"
        for name, content in (
            (b"pHYs", bytes(9)),
            (b"gAMA", bytes(4)),
            (b"tEXt", b"k\0v"),
            (b"tIME", bytes(7)),
            (b"iCCP", b"k\0\0" + zlib.compress(PROFILE)),
            (b"eXIf", tags(entry(3, b"\6\0"))),
            (b"tRNS", bytes(6)),
            (b"abCd", b"x"),
        )
    },
}


@pytest.mark.parametrize("name", ANCILLARY)
@pytest.mark.parametrize("before", [True, False])
def test_an_ancillary_chunk_that_is_wrong_or_large_does_not_matter(name: str, before: bool) -> None:
    at = 33 if before else len(PNG) - 12
    assert same(PNG[:at] + ANCILLARY[name] + PNG[at:], PNG)


@pytest.mark.parametrize("name", [b"IHDR", b"PLTE"])
def test_a_wrong_checksum_of_a_critical_chunk_is_refused(name: bytes) -> None:
    data = bytearray(zoo.encode(PHOTO.quantize(16), "PNG"))
    at = data.index(name)
    data[at + 4 + int.from_bytes(data[at - 4 : at], "big")] ^= 1
    with pytest.raises(Problem) as raised:
        decode(bytes(data), SPEC)
    assert raised.value.status == 415


def test_a_usual_file_is_not_copied() -> None:
    assert lean_png(PNG) is PNG
    assert lean_jpeg(JPEG)[0] is JPEG


SOS = JPEG.index(b"\xff\xda")
PROGRESSIVE = zoo.encode(PHOTO, "JPEG", quality=95, progressive=True)
RESTARTS = zoo.encode(PHOTO, "JPEG", quality=95, restart_marker_blocks=4)


@pytest.mark.parametrize("sound", [JPEG, PROGRESSIVE, RESTARTS], ids=["baseline", "progressive", "restarts"])
@pytest.mark.parametrize("left", [1, 2])
def test_a_jpeg_without_its_end_marker_is_answered_where_every_pixel_is_there(sound: bytes, left: int) -> None:
    assert same(sound[:-left], sound)


@pytest.mark.parametrize("sound", [JPEG, PROGRESSIVE, RESTARTS], ids=["baseline", "progressive", "restarts"])
@pytest.mark.parametrize("share", [0.5, 0.75, 0.9, 0.97])
def test_a_jpeg_that_is_cut_off_is_refused(sound: bytes, share: float) -> None:
    start = sound.index(b"\xff\xda")
    cut = sound[: start + int(share * (len(sound) - start))]
    for read in (lambda: decode(cut, SPEC), lambda: upright(open_image(cut))):
        with pytest.raises(Problem) as raised:
            read()
        assert (raised.value.status, raised.value.code) == (422, "corrupt_image")


@pytest.mark.parametrize("kind", [*SOUND, "GIF", "BMP", "TIFF"])
@pytest.mark.parametrize("lead", [b"\n", b"\r\n", b"  \t", b"\xef\xbb\xbf", b"\0\0", b"\xef\xbb\xbf\r\n"])
def test_a_line_break_before_a_picture_does_not_matter(kind: str, lead: bytes) -> None:
    sound = SOUND.get(kind) or zoo.encode(PHOTO.copy(), kind)
    assert same(lead + sound, sound)


def test_a_few_other_bytes_before_a_jpeg_do_not_matter() -> None:
    assert same(b"1f40\r\n" + bytes(range(128, 160)) + JPEG, JPEG)


def segment(marker: int, content: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(content) + 2) + content


SEGMENTS: dict[str, bytes] = {
    "a thousand comments": segment(0xFE, b"x") * 1000,
    "a profile in 255 segments": b"".join(
        segment(0xE2, b"ICC_PROFILE\0" + bytes([number, 255]) + bytes(60_000)) for number in range(1, 256)
    ),
    "a profile that lacks a segment": segment(0xE2, b"ICC_PROFILE\0\1\2" + PROFILE),
    "an empty profile": segment(0xE2, b"ICC_PROFILE\0"),
    "an index of pictures that is none": segment(0xE2, b"MPF\0" + bytes(30)),
    "an index of pictures that is cut off": segment(0xE2, b"MPF\0II*\0\x08\0\0\0\2\0" + bytes(10)),
    "photoshop's that is none": segment(0xED, b"Photoshop 3.0\x008BIM" + b"\xff" * 9),
    "a short jfif": segment(0xE0, b"JFIF\0"),
    "padding": b"\xff" * 5000,
    "bytes between": b"abc" * 500,
}


@pytest.mark.parametrize("name", SEGMENTS)
def test_a_segment_that_changes_no_pixel_does_not_matter(name: str) -> None:
    at = JPEG.index(b"\xff\xdb")  # after JFIF's own
    assert same(JPEG[:at] + SEGMENTS[name] + JPEG[at:], JPEG)


def test_of_several_exifs_the_first_counts() -> None:
    first, second = (segment(0xE1, b"Exif\0\0" + CLEAR_EXIF[name]) for name in ("short", "byte"))
    data = JPEG[:2] + first + second * 3 + JPEG[2:]
    assert upright(open_image(data)).size == (150, 200)


def test_a_webp_whose_exif_is_cut_off_is_answered() -> None:
    data = with_exif("WEBP", CLEAR_EXIF["short"] + bytes(500))
    assert same(data[:-400], WEBP)


BROKEN_TAGS: dict[str, tuple[int, bytes]] = {
    "a resolution that is a word": (282, entry(2, b"abc\0", 4, tag=282)),
    "an exif that is nowhere": (34665, entry(4, b"\xff\xff\xff\x7f", tag=34665)),
    "a profile beyond the end": (34675, entry(7, b"\xff\xff\xff\x7f", 2**30, tag=34675)),
}


@pytest.mark.parametrize("name", BROKEN_TAGS)
def test_a_tag_of_a_tiff_that_changes_no_pixel_does_not_matter(name: str) -> None:
    tag, changed = BROKEN_TAGS[name]
    info: dict[int, object] = {282: 72.0, 296: 3, 34665: 8, 34675: PROFILE}
    sound = zoo.encode(PHOTO.copy(), "TIFF", compression="raw", tiffinfo={tag: info[tag], 296: 3})
    (start,) = struct.unpack_from("<L", sound, 4)
    (count,) = struct.unpack_from("<H", sound, start)
    at = next(
        at for at in range(start + 2, start + 2 + 12 * count, 12) if struct.unpack_from("<H", sound, at) == (tag,)
    )
    broken = sound[:at] + changed + sound[at + 12 :]
    assert same(broken, zoo.encode(PHOTO.copy(), "TIFF", compression="raw"))
