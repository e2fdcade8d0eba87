import dataclasses
import errno
import fcntl
import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.training.train_support import draw, draw_manifest, tiny
from training.data.decoded import Decoded, build, remove_others, shrink
from training.data.loaders import TrainPictures
from training.data.manifest import Manifest
from training.data.pictures import open_upright
from training.data.sampler import Sample
from training.locks import Lock


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    """Ten pictures of 40 x 36 pixels."""
    return draw_manifest(tmp_path, {"train": 5})


def test_small_pictures_come_back_pixel_by_pixel(tmp_path: Path, manifest: Manifest) -> None:
    decoded = build(tmp_path / "cache", manifest.root, manifest.pictures, 36)
    for position, picture in enumerate(manifest.pictures):
        assert np.array_equal(decoded[position], np.asarray(open_upright(manifest.root, picture)))


def test_larger_pictures_are_kept_at_the_side_that_is_asked_for(tmp_path: Path, manifest: Manifest) -> None:
    decoded = build(tmp_path / "cache", manifest.root, manifest.pictures, 18)
    assert {decoded[position].shape for position in range(10)} == {(18, 20, 3)}
    assert np.array_equal(decoded[3], np.asarray(shrink(open_upright(manifest.root, manifest.pictures[3]), 18)))


@pytest.mark.parametrize(("size", "wanted"), [((400, 300), (133, 100)), ((300, 400), (100, 133)), ((90, 80), (90, 80))])
def test_the_shorter_side_is_scaled_down_and_never_up(size: tuple[int, int], wanted: tuple[int, int]) -> None:
    assert shrink(Image.new("RGB", size), 100).size == wanted


def test_a_crop_of_a_decoded_picture_is_the_crop_of_its_file(tmp_path: Path, manifest: Manifest) -> None:
    decoded = build(tmp_path / "cache", manifest.root, manifest.pictures, 64)
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
    cache, root = tmp_path / "cache", manifest.root
    first = build(cache, root, manifest.pictures, 18, 0, lambda done, total: told.append(done)).folder
    assert told == list(range(1, 11))
    assert build(cache, root, manifest.pictures, 18, 0, lambda done, total: told.append(0)).folder == first
    assert 0 not in told
    others = [
        build(cache, root, manifest.pictures, 20).folder,
        build(cache, root, manifest.pictures[::-1], 18).folder,
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
    decoded = build(tmp_path / "cache", manifest.root, manifest.pictures, 36)
    assert np.array_equal(decoded[9], np.asarray(open_upright(manifest.root, manifest.pictures[9])))


def test_pixels_that_are_no_longer_whole_are_decoded_anew(tmp_path: Path, manifest: Manifest) -> None:
    folder = build(tmp_path / "cache", manifest.root, manifest.pictures, 36).folder
    pixels = (folder / "pixels.u8").read_bytes()
    (folder / "pixels.u8").write_bytes(pixels[:-100])
    assert build(tmp_path / "cache", manifest.root, manifest.pictures, 36).folder == folder
    assert (folder / "pixels.u8").read_bytes() == pixels


def test_a_picture_that_lies_on_its_side_is_turned(tmp_path: Path, manifest: Manifest) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    draw("cat", 1).save(tmp_path / "phone.jpg", exif=exif)
    digest = hashlib.sha256((tmp_path / "phone.jpg").read_bytes()).hexdigest()
    picture = dataclasses.replace(manifest.pictures[0], path="phone.jpg", sha256=digest)
    assert build(tmp_path / "cache", tmp_path, [picture], 64)[0].shape == (40, 36, 3)


def content(decoded: Decoded) -> str:
    return hashlib.sha256(b"".join(decoded[position].tobytes() for position in range(10))).hexdigest()


def in_a_process(function: Callable[[], None]) -> int:
    """The number of a forked process that calls a function."""
    if child := os.fork():
        return child
    try:
        function()
        os._exit(0)
    finally:
        os._exit(1)


def join(child: int) -> None:
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.mark.parametrize("offset", range(1, 11))
def test_a_run_that_starts_while_another_one_decodes_waits_and_says_so(
    tmp_path: Path, manifest: Manifest, offset: int
) -> None:
    """After each of the ten pictures."""
    alone = content(build(tmp_path / "alone", manifest.root, manifest.pictures, 36))
    (began, begin), (waits, wait) = os.pipe(), os.pipe()
    lines = tmp_path / "lines"
    lines.touch()

    def first() -> None:
        def at(done: int, total: int) -> None:
            if done == offset:
                os.write(begin, b".")
                assert os.read(waits, 1)  # until the second waits: so it cannot but meet the first at work

        decoded = build(tmp_path / "cache", manifest.root, manifest.pictures, 36, 0, at)
        assert content(decoded) == alone

    def second() -> None:
        def say(sentence: str) -> None:
            lines.write_text(lines.read_text() + f"{sentence}\n")
            os.write(wait, b".")

        decoded = build(tmp_path / "cache", manifest.root, manifest.pictures, 36, say=say)
        assert content(decoded) == alone

    earlier = in_a_process(first)
    assert os.read(began, 1)
    later = in_a_process(second)
    join(earlier)
    join(later)
    (folder,) = (tmp_path / "cache").iterdir()
    assert lines.read_text() == f"Waiting for another process that decodes the same pictures into {folder}.\n"
    assert sorted(path.name for path in folder.iterdir()) == ["index.npy", "lock", "pixels.u8"]


def test_two_runs_decode_the_same_where_a_file_system_knows_no_locks(
    tmp_path: Path, manifest: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", unknown)
    alone = content(build(tmp_path / "alone", manifest.root, manifest.pictures, 36))

    def at(done: int, total: int) -> None:
        if done in (1, 5, 9):  # another run starts, and ends, in the middle of this one
            assert content(build(tmp_path / "cache", manifest.root, manifest.pictures, 36)) == alone

    assert content(build(tmp_path / "cache", manifest.root, manifest.pictures, 36, 0, at)) == alone


def test_what_a_killed_run_left_is_removed(tmp_path: Path, manifest: Manifest) -> None:
    folder = build(tmp_path / "cache", manifest.root, manifest.pictures, 36).folder
    (folder / "index.npy").unlink()
    (folder / ".pixels.u8.1-2.part").write_bytes(b"half")
    build(tmp_path / "cache", manifest.root, manifest.pictures, 36)
    assert sorted(path.name for path in folder.iterdir()) == ["index.npy", "lock", "pixels.u8"]


def test_what_was_decoded_for_another_manifest_is_removed_unless_it_is_used(tmp_path: Path, manifest: Manifest) -> None:
    old = build(tmp_path / "cache", manifest.root, manifest.pictures[:4], 36)
    used = build(tmp_path / "cache", manifest.root, manifest.pictures[:6], 36)
    (tmp_path / "cache" / "teacher").mkdir()
    old_folder = old.folder
    del old  # the run ends
    kept = build(tmp_path / "cache", manifest.root, manifest.pictures, 36)
    (sentence,) = remove_others(kept)
    assert sentence == f"Removed {old_folder}, decoded for another manifest or side: 0.0 MB."
    assert sorted((tmp_path / "cache").iterdir()) == sorted([used.folder, kept.folder, tmp_path / "cache" / "teacher"])
    assert np.array_equal(used[5], np.asarray(open_upright(manifest.root, manifest.pictures[5])))
    assert remove_others(kept) == []


def test_a_folder_that_was_removed_while_a_run_waited_for_it_is_decoded_anew(
    tmp_path: Path, manifest: Manifest
) -> None:
    folder = build(tmp_path / "cache", manifest.root, manifest.pictures, 36).folder
    waits, wait = os.pipe()
    lock = Lock(folder / "lock")

    def waiting() -> None:
        lock.release()  # the parent's stays

        def say(sentence: str) -> None:
            os.write(wait, b".")

        build(tmp_path / "cache", manifest.root, manifest.pictures, 36, say=say)

    child = in_a_process(waiting)
    assert os.read(waits, 1)
    shutil.rmtree(folder)
    lock.release()
    join(child)
    assert sorted(path.name for path in folder.iterdir()) == ["index.npy", "lock", "pixels.u8"]
