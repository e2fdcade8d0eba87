"""A previous manifest: pictures stay where it has them, and each move is listed."""

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from handler.files import UserError
from training.data import manifest
from training.data.manifest import Prepared
from training.data.prepare import prepare
from training.data.split import SPLITS

Invoke = Callable[..., str]
Photo = Callable[..., Image.Image]
Folders = Callable[..., Path]


def hashed(flipped: int) -> Image.Image:
    """17x16 pixels whose dHash is always the same but for its first `flipped` bits."""
    bits = np.random.default_rng(0).integers(0, 2, (16, 16), dtype=np.int16)
    bits.ravel()[:flipped] ^= 1
    steps = np.where(bits, 5, -5).cumsum(axis=1)
    return Image.fromarray((128 + np.pad(steps, ((0, 0), (1, 0)))).astype(np.uint8))


def sides(prepared: Prepared) -> dict[str, str]:
    return {picture.path: picture.split for picture in prepared.pictures}


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def chain(tmp_path: Path, class_folders: Folders) -> Path:
    """Two pictures 20 bits apart, that are no near-duplicates: Cat/left.png and Cat/right.png; and others."""
    folder = class_folders(tmp_path / "web", 3)
    hashed(0).save(folder / "Cat" / "left.png")
    hashed(20).save(folder / "Cat" / "right.png")
    return folder


@pytest.mark.parametrize("side", SPLITS)
def test_old_pictures_stay_whatever_the_parts(tmp_path: Path, class_folders: Folders, side: str) -> None:
    folder = class_folders(tmp_path, 5)
    previous = {digest(path): side for path in folder.rglob("*.jpg")}
    for ratios in ((1, 0, 0), (0, 1, 0), (0, 0, 1)):
        prepared = prepare([folder], ratios=ratios, previous=previous)
        assert set(sides(prepared).values()) == {side}
        assert (prepared.known, prepared.moves) == (10, [])


def test_a_renamed_picture_stays_and_a_new_one_goes_by_the_parts(tmp_path: Path, class_folders: Folders) -> None:
    folder = class_folders(tmp_path, 5)
    previous = {digest(folder / "Cat" / "0.jpg"): "val"}
    (folder / "Cat" / "0.jpg").rename(folder / "Cat" / "renamed.jpeg")
    placed = sides(prepare([folder], ratios=(1, 0, 0), previous=previous))
    assert placed.pop("Cat/renamed.jpeg") == "val"
    assert set(placed.values()) == {"train"}


@pytest.mark.parametrize("side", SPLITS)
def test_a_new_picture_joins_the_side_of_its_group(chain: Path, side: str) -> None:
    hashed(10).save(chain / "Cat" / "new.png")
    (chain / "Cat" / "right.png").unlink()
    prepared = prepare([chain], ratios=(1, 1, 1), previous={digest(chain / "Cat" / "left.png"): side})
    assert {sides(prepared)[f"Cat/{name}.png"] for name in ("left", "new")} == {side}
    assert prepared.moves == []


def test_pictures_that_are_no_near_duplicates_of_each_other_may_stand_apart(chain: Path) -> None:
    previous = {digest(chain / "Cat" / "left.png"): "train", digest(chain / "Cat" / "right.png"): "val"}
    prepared = prepare([chain], previous=previous)
    assert (sides(prepared)["Cat/left.png"], sides(prepared)["Cat/right.png"]) == ("train", "val")
    assert prepared.moves == []


@pytest.mark.parametrize(
    ("left", "right", "moved"),
    [
        ("train", "val", ["left", "right"]),
        ("train", "test", ["left"]),
        ("test", "val", ["right"]),
    ],
)
def test_a_new_picture_that_joins_groups_of_two_sides_sends_all_to_test(
    chain: Path, left: str, right: str, moved: list[str]
) -> None:
    previous = {digest(chain / "Cat" / "left.png"): left, digest(chain / "Cat" / "right.png"): right}
    hashed(10).save(chain / "Dog" / "new.png")
    prepared = prepare([chain], ratios=(1, 0, 0), previous=previous)
    placed = sides(prepared)
    assert {placed[path] for path in ("Cat/left.png", "Cat/right.png", "Dog/new.png")} == {"test"}
    assert [move.path for move in prepared.moves] == [f"Cat/{name}.png" for name in moved]
    assert {move.after for move in prepared.moves} == {"test"}
    assert all("became one group" in move.why for move in prepared.moves)


def test_evaluation_only_wins_over_the_previous_side(tmp_path: Path, class_folders: Folders, photo: Photo) -> None:
    web, photos = class_folders(tmp_path / "web", 3), tmp_path / "photos"
    (photos / "Cat").mkdir(parents=True)
    photo(0, size=(320, 240)).save(photos / "Cat" / "original.jpg", quality=95)
    previous = {digest(path): "train" for path in web.rglob("*.jpg")}
    prepared = prepare([web], [photos], previous=previous)
    (move,) = prepared.moves
    assert (move.path, move.before, move.after) == ("web/Cat/0.jpg", "train", "test")
    assert move.why == "shares a group with photos/Cat/original.jpg, which is for evaluation only"


def test_the_manifest_in_out_is_the_previous_one_unless_fresh(
    tmp_path: Path, class_folders: Folders, invoke: Invoke
) -> None:
    folder, out = class_folders(tmp_path / "web", 12), tmp_path / "data"
    invoke("prepare", folder, "--out", out, "--split", "1/1/1")
    before = (out / "manifest.csv").read_bytes()
    output = invoke("prepare", folder, "--out", out, "--split", "1/0/0")
    assert (out / "manifest.csv").read_bytes() == before
    assert "24 pictures were in the previous manifest; 24 stay where they were, 0 go to test" in output
    invoke("prepare", folder, "--out", out, "--split", "1/0/0", "--fresh")
    assert {picture.split for picture in manifest.read(out).pictures} == {"train"}


def test_a_previous_manifest_elsewhere_can_be_named(tmp_path: Path, class_folders: Folders, invoke: Invoke) -> None:
    folder = class_folders(tmp_path / "web", 12)
    invoke("prepare", folder, "--out", tmp_path / "old", "--split", "1/1/1")
    moved = shutil.move(folder, tmp_path / "moved")
    invoke("prepare", moved, "--out", tmp_path / "new", "--split", "1/0/0", "--previous", tmp_path / "old")
    old, new = ((tmp_path / name / "manifest.csv").read_bytes() for name in ("old", "new"))
    assert old == new


def test_moves_are_listed_and_stay_listed(tmp_path: Path, chain: Path, invoke: Invoke) -> None:
    out, right = tmp_path / "data", chain / "Cat" / "right.png"
    right.unlink()
    invoke("prepare", chain, "--out", out, "--split", "1/0/0")
    hashed(20).save(right)
    invoke("prepare", chain, "--out", out, "--split", "0/1/0")
    assert (out / "moves.csv").read_text() == "sha256,path,before,after,why\n"
    hashed(10).save(chain / "Cat" / "new.png")
    output = invoke("prepare", chain, "--out", out)
    assert "2 go to test" in output
    written = {name: (out / name).read_bytes() for name in ("manifest.csv", "moves.csv")}
    _, *rows = written["moves.csv"].decode().splitlines()
    assert [row.split(",")[1:4] for row in rows] == [
        ["Cat/left.png", "train", "test"],
        ["Cat/right.png", "val", "test"],
    ]
    assert "0 go to test" in invoke("prepare", chain, "--out", out)
    assert {name: (out / name).read_bytes() for name in written} == written


def test_a_previous_manifest_that_was_changed_is_refused(
    tmp_path: Path, class_folders: Folders, invoke: Invoke
) -> None:
    folder, out = class_folders(tmp_path / "web", 3), tmp_path / "data"
    invoke("prepare", folder, "--out", out)
    path = out / "manifest.csv"
    path.write_text(path.read_text().replace(",train,", ",val,", 1))
    with pytest.raises(UserError, match=r"previous manifest .*manifest\.csv was changed after it was made\..*--fresh"):
        invoke("prepare", folder, "--out", out)
    invoke("prepare", folder, "--out", out, "--fresh")
    assert len(manifest.read(out).pictures) == 6


@pytest.mark.parametrize("name", ["manifest.csv", "summary.json"])
def test_a_previous_manifest_that_is_not_there_is_said(
    tmp_path: Path, class_folders: Folders, invoke: Invoke, name: str
) -> None:
    folder, old = class_folders(tmp_path / "web", 3), tmp_path / "old"
    invoke("prepare", folder, "--out", old)
    (old / name).unlink()
    with pytest.raises(UserError, match=rf"{name}, of the previous manifest, is missing"):
        invoke("prepare", folder, "--out", tmp_path / "new", "--previous", old)
    assert not (tmp_path / "new").exists()


def test_fresh_and_previous_exclude_each_other(tmp_path: Path, invoke: Invoke) -> None:
    with pytest.raises(AssertionError, match="give one of the two"):
        invoke("prepare", tmp_path, "--fresh", "--previous", tmp_path)
