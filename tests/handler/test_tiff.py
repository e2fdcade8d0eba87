import io
import struct

import numpy as np
import pytest
from PIL import Image
from PIL.TiffImagePlugin import TiffImageFile

from handler.preprocess import InputSpec, decode
from handler.problem import Problem
from handler.tiff import Tiff
from tests import zoo
from tests.bombs import BOMBS, tile

LIMIT = 50_000_000


def largest_block(data: bytes, max_pixels: int) -> int:
    return Tiff(data).largest_block(max_pixels)


def entry(tag: int, kind: int, value: int) -> bytes:
    return struct.pack("<HHLL", tag, kind, 1, value)


def refusal(data: bytes) -> tuple[int, str]:
    with pytest.raises(Problem) as raised:
        largest_block(data, LIMIT)
    assert raised.value.detail.endswith(".")
    return raised.value.status, raised.value.code


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg"])
def test_a_block_is_as_large_as_its_pixels(compression: str) -> None:
    rgb = zoo.photo().resize((96, 72))
    # A JPEG may be progressive, and keeps two bytes more for each sample then.
    each = 3 if compression == "jpeg" else 1
    assert largest_block(zoo.encode(rgb, "TIFF", compression=compression), LIMIT) == 96 * 72 * 3 * each
    assert largest_block(zoo.encode(rgb.convert("L"), "TIFF", compression=compression), LIMIT) == 96 * 72 * each


def test_what_is_not_compressed_has_no_block() -> None:
    assert largest_block(zoo.accepted()["tiff"], LIMIT) == 0


def test_a_tile_may_stick_out() -> None:
    assert largest_block(tile(256, 256, 64, 64), LIMIT) == 256 * 256
    assert decode(tile(256, 256, 64, 64), InputSpec(128)).max() == 0


def test_of_two_entries_with_one_tag_the_first_counts_as_for_libtiff() -> None:
    sound = tile(64, 64)
    assert largest_block(sound, LIMIT) == 64 * 64
    # The number of samples, 1 by default, gives its place to a width of tiles that Pillow does not see.
    lying = sound.replace(entry(277, 4, 1), entry(322, 4, 2_000_000))
    assert lying != sound
    assert refusal(lying) == (422, "corrupt_image")


def test_a_number_of_a_type_that_only_libtiff_knows_is_refused() -> None:
    assert refusal(tile(64, 64).replace(entry(322, 4, 64), entry(322, 17, 64))) == (422, "corrupt_image")


@pytest.mark.parametrize(("columns", "rows", "side"), [(16, 16, 4000), (2_000_000, 64, 64), (0, 16, 64)])
def test_blocks_that_cost_more_than_the_picture_are_refused(columns: int, rows: int, side: int) -> None:
    lying = tile(16, 16, side, side).replace(entry(322, 4, 16), entry(322, 4, columns))
    assert refusal(lying.replace(entry(323, 4, 16), entry(323, 4, rows))) == (422, "corrupt_image")


def test_half_a_directory_is_refused() -> None:
    assert refusal(tile(64, 64)[:60]) == (422, "corrupt_image")


@pytest.mark.parametrize("name", ["tiff of strips", "raw tiff of tiles"])
def test_more_blocks_than_any_picture_has_are_refused_whether_they_are_compressed_or_not(name: str) -> None:
    assert refusal(BOMBS[name]()) == (422, "corrupt_image")


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw"])
def test_what_decoding_does_not_need_is_left_out(compression: str) -> None:
    rgb, exif = zoo.photo().resize((96, 72)), Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "A camera"
    data = zoo.encode(rgb, "TIFF", compression=compression, exif=exif, save_all=True, append_images=[rgb.rotate(90)])
    lean = Tiff(data).lean()
    with Image.open(io.BytesIO(lean)) as image:
        assert isinstance(image, TiffImageFile)
        assert not {0x0112, 0x010F} & set(image.tag_v2)
        assert image.n_frames == 1
        assert np.array_equal(np.asarray(image), np.asarray(rgb))
    assert Tiff(data).orientation() == 6
    assert Tiff(lean).lean() == lean


def test_bigtiff_is_refused_by_its_name() -> None:
    with pytest.raises(Problem, match="BigTIFF") as raised:
        Tiff(BOMBS["tiff of tags"]())
    assert raised.value.status == 415


@pytest.mark.parametrize("compression", [6, 34925, 50001, 0])
def test_rare_compressions_are_not_read(compression: int) -> None:
    other = tile(64, 64).replace(entry(259, 4, 8), entry(259, 4, compression))
    assert refusal(other) == (415, "unsupported_image")
