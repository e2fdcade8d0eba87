"""Pictures whose numbers are not of 8 bits: shown as the format says, or refused with the reason."""

import struct
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from handler.preprocess import InputSpec, decode
from handler.problem import Problem
from tests import zoo
from tests.bombs import chunk

SPEC = InputSpec(128)
GREY = np.asarray(zoo.photo().convert("L").resize((200, 150)))
RIGHT = decode(zoo.encode(Image.fromarray(GREY), "PNG"), SPEC).astype(int)


def tiff(values: npt.NDArray[Any], tags: dict[int, Any] | None = None) -> bytes:
    return zoo.encode(Image.fromarray(values), "TIFF", tiffinfo=tags or {})


def raw_tiff(values: bytes, size: tuple[int, int], tags: dict[int, int]) -> bytes:
    """A TIFF of one strip; tags are LONGs."""
    whole = {256: size[0], 257: size[1], 259: 1, 262: 1, 277: 1, 278: size[1], 279: len(values), **tags}
    whole[273] = 10 + 12 * (len(whole) + 1) + 4
    directory = b"".join(struct.pack("<HHLL", tag, 4, 1, value) for tag, value in sorted(whole.items()))
    return b"II*\0" + struct.pack("<LH", 8, len(whole)) + directory + bytes(4) + values


def packed_12_bits() -> bytes:
    values = (GREY.astype(np.uint32) * 4095 // 255).reshape(-1, 2)
    joined = values[:, 0] << 12 | values[:, 1]
    return np.stack([joined >> 16, joined >> 8 & 255, joined & 255], axis=1).astype(np.uint8).tobytes()


def png_of_16(values: npt.NDArray[np.uint16], significant: int | None = None) -> bytes:
    data = zoo.encode(Image.fromarray(values), "PNG")
    return data[:33] + (chunk(b"sBIT", bytes([significant])) if significant else b"") + data[33:]


SCALE = GREY.astype(np.float32) / 255
SHOWN: dict[str, bytes] = {
    "float from 0 to 1": tiff(SCALE),
    "float from 0 to 255": tiff(GREY.astype(np.float32)),
    "float whose white is said": tiff(SCALE * 1000 - 200, {340: -200.0, 341: 800.0}),
    "int32 of 8 bits": tiff(GREY.astype(np.int32)),
    "int32 whose white is said": tiff(GREY.astype(np.int32) * 100, {341: 25_500}),
    "int32 of all its bits": tiff((SCALE.astype(np.float64) * (2**31 - 1)).astype(np.int32)),
    "uint16": tiff(GREY.astype(np.uint16) * 257),
    "uint16 whose largest number is said": tiff(GREY.astype(np.uint16) * 16, {281: 4095}),
    "uint16 whose white is said": tiff((SCALE * 1023).astype(np.uint16), {341: 1023}),
    "12 bits": raw_tiff(packed_12_bits(), (200, 150), {258: 12}),
    "uint16 whose white is zero": raw_tiff(
        (65535 - GREY.astype(np.uint16) * 257).tobytes(), (200, 150), {258: 16, 262: 0}
    ),
    "float whose white is zero": raw_tiff((1 - SCALE).tobytes(), (200, 150), {258: 32, 262: 0, 339: 3}),
    "int16 of 8 bits": raw_tiff(GREY.astype(np.int16).tobytes(), (200, 150), {258: 16, 339: 2}),
    "int16 of all its bits": raw_tiff((SCALE * 32767).astype(np.int16).tobytes(), (200, 150), {258: 16, 339: 2}),
    "png of 16 bits": png_of_16(GREY.astype(np.uint16) * 257),
    "png that says 12 bits": png_of_16((SCALE * 4095).astype(np.uint16), 12),
    "png that says 10 bits": png_of_16((SCALE * 1023).astype(np.uint16), 10),
    "png that says 12 bits and has 16": png_of_16(GREY.astype(np.uint16) * 257, 12),
}


@pytest.mark.parametrize("name", SHOWN)
def test_numbers_are_scaled_as_the_format_says(name: str) -> None:
    assert np.abs(decode(SHOWN[name], SPEC).astype(int) - RIGHT).mean() < 1.5


RGB = np.stack([GREY] * 3, axis=-1)
REFUSED: dict[str, bytes] = {
    "float from 0 to 1000": tiff(SCALE * 1000),
    "float from -1 to 1": tiff(SCALE * 2 - 1),
    "float with parts, from 0 to 3": tiff(SCALE * 3),
    "float that is not a number": tiff(np.full((9, 9), np.nan, dtype=np.float32)),
    "float that is infinite": tiff(np.full((9, 9), np.inf, dtype=np.float32)),
    "int32 of 12 bits": tiff((SCALE * 4095).astype(np.int32)),
    "int32 below zero": tiff(GREY.astype(np.int32) - 100),
    "uint16 of 12 bits": tiff((SCALE * 4095).astype(np.uint16)),
    "uint16 of 8 bits": tiff(GREY.astype(np.uint16)),
    "png of 12 bits": png_of_16((SCALE * 4095).astype(np.uint16)),
    "int8": raw_tiff(GREY.tobytes(), (200, 150), {258: 8, 339: 2}),
    "rgb of 12 bits": raw_tiff((RGB.astype(np.uint16) * 16).tobytes(), (200, 150), {258: 16, 277: 3, 262: 2}),
}


@pytest.mark.parametrize("name", REFUSED)
def test_numbers_whose_black_and_white_nobody_can_know_are_refused_with_the_reason(name: str) -> None:
    with pytest.raises(Problem, match="save it with 8 bits") as raised:
        decode(REFUSED[name], SPEC)
    assert (raised.value.status, raised.value.code) == (415, "unsupported_image")


def test_a_black_picture_of_16_bits_is_black() -> None:
    assert decode(png_of_16(np.zeros((9, 9), dtype=np.uint16)), SPEC).max() == 0


def test_a_large_picture_is_scaled_by_parts_as_it_is_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = decode(SHOWN["float from 0 to 1"], SPEC)
    monkeypatch.setattr("handler.strips.STRIP_PIXELS", 7 * 200)
    assert np.array_equal(decode(SHOWN["float from 0 to 1"], SPEC), whole)


def bmp(alpha: int) -> bytes:
    image = Image.fromarray(RGB).convert("RGBA")
    image.putalpha(alpha)
    return zoo.encode(image, "BMP")


def bmp_with_masks(alpha: int) -> bytes:
    """Version 4, whose masks say that there is an alpha channel."""
    width, height = 200, 150
    pixels = np.dstack([RGB[::-1, :, ::-1], np.full((height, width), alpha, dtype=np.uint8)]).tobytes()
    head = struct.pack("<LllHHLLllLL", 108, width, height, 1, 32, 3, len(pixels), 0, 0, 0, 0)
    head += struct.pack("<LLLL", 0xFF0000, 0xFF00, 0xFF, 0xFF000000) + b"BGRs" + bytes(48)
    return b"BM" + struct.pack("<LHHL", 14 + len(head) + len(pixels), 0, 0, 14 + len(head)) + head + pixels


@pytest.mark.parametrize("alpha", [0, 255])
def test_an_alpha_channel_of_a_bmp_that_is_all_zero_is_unused(alpha: int) -> None:
    assert np.array_equal(decode(bmp_with_masks(alpha), SPEC), decode(bmp(255), SPEC))


def test_an_alpha_channel_of_a_bmp_that_is_used_counts() -> None:
    assert decode(bmp_with_masks(1), SPEC).min() > 250


def test_an_alpha_channel_of_a_tiff_that_is_all_zero_is_unused() -> None:
    image = Image.fromarray(RGB).convert("RGBA")
    image.putalpha(0)
    assert np.array_equal(decode(zoo.encode(image, "TIFF"), SPEC), decode(bmp(255), SPEC))
