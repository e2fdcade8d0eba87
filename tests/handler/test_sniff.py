"""Files that are no pictures are refused by the name of their format."""

import gzip
import json

import pytest

from handler.preprocess import InputSpec, decode
from handler.problem import Problem
from handler.sniff import is_picture, kind_of, picture_start
from tests import zoo


def iso(brand: bytes, *others: bytes) -> bytes:
    content = b"ftyp" + brand + bytes(4) + b"".join(others)
    return (4 + len(content)).to_bytes(4, "big") + content + bytes(200)


OTHERS = {
    "heic": (iso(b"heic", b"mif1"), "HEIC"),
    "heic of another order": (iso(b"mif1", b"mif1", b"heic"), "HEIC"),
    "avif": (iso(b"avif", b"mif1", b"miaf"), "AVIF"),
    "avif of another order": (iso(b"mif1", b"avif"), "AVIF"),
    "jpeg xl": (b"\xff\x0a" + bytes(100), "JPEG XL"),
    "jpeg xl in a box": (b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(100), "JPEG XL"),
    "jpeg 2000": (zoo.encode(zoo.photo().resize((32, 32)), "JPEG2000"), "JPEG 2000"),
    "svg": (b'<svg xmlns="http://www.w3.org/2000/svg"/>', "SVG"),
    "svg with a head": (b'\xef\xbb\xbf<?xml version="1.0"?>\n<!DOCTYPE svg>\n<svg/>', "SVG"),
    "html": (b"\n<!DOCTYPE html><html><body>404</body></html>", "an HTML page"),
    "pdf": (b"%PDF-1.7\n" + bytes(100), "a PDF"),
    "mp4": (iso(b"isom", b"mp42"), "MP4"),
    "quicktime": (iso(b"qt  "), "QuickTime"),
    "webm": (b"\x1aE\xdf\xa3" + bytes(100), "WebM"),
    "avi": (b"RIFF\0\0\0\0AVI LIST", "AVI"),
    "json": (json.dumps({"image": "..."}).encode(), "JSON"),
    "text": (b"hello, this is no picture", "text"),
    "text in utf-8": ("grüße an alle Katzen".encode(), "text"),
    "text in utf-16": ("hello".encode("utf-16"), "UTF-16"),
    "a url": (b"https://example.org/cat.jpg", "a URL"),
    "a form": (b'--x\r\nContent-Disposition: form-data; name="a"; filename="a"\r\n\r\nb\r\n--x--', "a form"),
    "base64": (b"bm8gcGljdHVyZSBhdCBhbGwgYnV0IHRleHQ=", "base64"),
    "gzip": (gzip.compress(zoo.CAT.read_bytes()), "gzip"),
    "zip": (b"PK\x03\x04" + bytes(100), "zip"),
    "psd": (b"8BPS\0\1" + bytes(100), "Photoshop"),
    "cr3": (iso(b"crx ", b"isom"), "raw file"),
    "raf": (b"FUJIFILMCCD-RAW 0201" + bytes(100), "raw file"),
    "ico": (b"\0\0\1\0\1\0" + bytes(100), "icon"),
    "ppm": (b"P6\n2 2\n255\n" + bytes(12), "PNM"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_it_is_refused_by_its_name_and_told_what_to_send(name: str) -> None:
    data, word = OTHERS[name]
    with pytest.raises(Problem) as raised:
        decode(data, InputSpec(128))
    assert (raised.value.status, raised.value.code) == (415, "unsupported_image")
    assert word in raised.value.detail
    assert raised.value.detail.endswith(".")
    # What follows the name says what to do.
    assert any(verb in raised.value.detail for verb in ("end ", "name its boundary", "fetch", "does not decode"))


@pytest.mark.parametrize("kind", zoo.accepted())
def test_a_picture_is_none_of_these(kind: str) -> None:
    data = zoo.accepted()[kind]
    assert is_picture(data)
    assert kind_of(data) is None
    assert picture_start(data) == 0


def test_unknown_bytes_are_given_no_name() -> None:
    with pytest.raises(Problem, match="not a picture that can be read"):
        decode(b"\x9f\x01\x02\x03" * 100, InputSpec(128))


@pytest.mark.parametrize("name", OTHERS)
def test_every_beginning_of_it_is_refused_too(name: str) -> None:
    data, _ = OTHERS[name]
    for length in range(1, min(len(data), 64)):
        with pytest.raises(Problem) as raised:
            decode(data[:length], InputSpec(128))
        assert raised.value.status == 415
