import dataclasses
import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.training.train_support import draw, draw_manifest, tiny
from training.data.decoded import Decoded, build, shrink
from training.data.loaders import TrainPictures
from training.data.manifest import Manifest
from training.data.pictures import open_upright
from training.data.sampler import Sample


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    """Ten pictures of 40 x 36 pixels."""
    return draw_manifest(tmp_path, {"train": 5})


def test_small_pictures_come_back_pixel_by_pixel(tmp_path: Path, manifest: Manifest) -> None:
    decoded = Decoded(build(tmp_path / "cache", manifest.root, manifest.pictures, 36))
    for position, picture in enumerate(manifest.pictures):
        assert np.array_equal(decoded[position], np.asarray(open_upright(manifest.root, picture)))


def test_larger_pictures_are_kept_at_the_side_that_is_asked_for(tmp_path: Path, manifest: Manifest) -> None:
    decoded = Decoded(build(tmp_path / "cache", manifest.root, manifest.pictures, 18))
    assert {decoded[position].shape for position in range(10)} == {(18, 20, 3)}
    assert np.array_equal(decoded[3], np.asarray(shrink(open_upright(manifest.root, manifest.pictures[3]), 18)))


@pytest.mark.parametrize(("size", "wanted"), [((400, 300), (133, 100)), ((300, 400), (100, 133)), ((90, 80), (90, 80))])
def test_the_shorter_side_is_scaled_down_and_never_up(size: tuple[int, int], wanted: tuple[int, int]) -> None:
    assert shrink(Image.new("RGB", size), 100).size == wanted


def test_a_crop_of_a_decoded_picture_is_the_crop_of_its_file(tmp_path: Path, manifest: Manifest) -> None:
    decoded = Decoded(build(tmp_path / "cache", manifest.root, manifest.pictures, 64))
    recipe = tiny().train
    plain, ours = (
        TrainPictures(manifest.root, manifest.pictures, manifest.classes, recipe, kept) for kept in (None, decoded)
    )
    samples = [Sample(3, 7, 32, -1), Sample(4, 8, 32, 1)]
    assert torch.equal(plain.__getitems__(samples)[0], ours.__getitems__(samples)[0])


def test_a_second_run_decodes_nothing_and_other_pictures_or_sides_have_their_own_folder(
    tmp_path: Path, manifest: Manifest
) -> None:
    told: list[int] = []
    first = build(tmp_path / "cache", manifest.root, manifest.pictures, 18, 0, lambda done, total: told.append(done))
    assert told == list(range(1, 11))
    assert (
        build(tmp_path / "cache", manifest.root, manifest.pictures, 18, 0, lambda done, total: told.append(0)) == first
    )
    assert 0 not in told
    others = [
        build(tmp_path / "cache", manifest.root, manifest.pictures, 20),
        build(tmp_path / "cache", manifest.root, manifest.pictures[::-1], 18),
    ]
    assert len({first, *others}) == 3


def test_what_was_stopped_in_the_middle_is_decoded_anew(tmp_path: Path, manifest: Manifest) -> None:
    class Kill(Exception):
        pass

    def kill(done: int, total: int) -> None:
        if done == 4:
            raise Kill

    with pytest.raises(Kill):
        build(tmp_path / "cache", manifest.root, manifest.pictures, 36, 0, kill)
    decoded = Decoded(build(tmp_path / "cache", manifest.root, manifest.pictures, 36))
    assert np.array_equal(decoded[9], np.asarray(open_upright(manifest.root, manifest.pictures[9])))


def test_pixels_that_are_no_longer_whole_are_decoded_anew(tmp_path: Path, manifest: Manifest) -> None:
    folder = build(tmp_path / "cache", manifest.root, manifest.pictures, 36)
    pixels = (folder / "pixels.u8").read_bytes()
    (folder / "pixels.u8").write_bytes(pixels[:-100])
    assert build(tmp_path / "cache", manifest.root, manifest.pictures, 36) == folder
    assert (folder / "pixels.u8").read_bytes() == pixels


def test_a_picture_that_lies_on_its_side_is_turned(tmp_path: Path, manifest: Manifest) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    draw("cat", 1).save(tmp_path / "phone.jpg", exif=exif)
    digest = hashlib.sha256((tmp_path / "phone.jpg").read_bytes()).hexdigest()
    picture = dataclasses.replace(manifest.pictures[0], path="phone.jpg", sha256=digest)
    assert Decoded(build(tmp_path / "cache", tmp_path, [picture], 64))[0].shape == (40, 36, 3)
