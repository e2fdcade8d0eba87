"""Pictures in tar shards: written by `prepare --shards`, read by every other verb, and unpacked by any tar."""

import csv
import dataclasses
import hashlib
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from handler.files import UserError
from tests.training.train_support import TINY, assert_equal_weights, draw_manifest, settings
from training.data import manifest as manifests
from training.data import pack, shards
from training.data.manifest import Manifest
from training.data.pictures import read_picture


@pytest.fixture
def drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Manifest:
    """Twelve pictures, and shards that hold five each."""
    monkeypatch.setattr(pack, "PER_SHARD", 5)
    return draw_manifest(tmp_path, {"train": 6})


def packed(manifest: Manifest, folder: Path) -> dict[str, bytes]:
    """Write shards; return the bytes of each."""
    return {path.name: path.read_bytes() for path in pack.write_shards(manifest.root, manifest.pictures, folder)}


def without(manifest: Manifest, *paths: str) -> Manifest:
    kept = [picture for picture in manifest.pictures if picture.path not in paths]
    return dataclasses.replace(manifest, pictures=kept)


def names(folder: Path) -> list[list[str]]:
    return [list(shards.members_of(shard)) for shard in shards.shards_of(folder)]


def test_equal_pictures_give_equal_bytes(drawn: Manifest, tmp_path: Path) -> None:
    first = packed(drawn, tmp_path / "first")
    for picture in drawn.pictures:
        (drawn.root / picture.path).touch()
    assert packed(drawn, tmp_path / "second") == first
    assert list(first) == ["00000.tar", "00001.tar", "00002.tar"]


def test_new_pictures_leave_full_shards_as_they_are(drawn: Manifest, tmp_path: Path) -> None:
    new = [drawn.pictures[0].path, drawn.pictures[7].path]
    before = packed(without(drawn, *new), tmp_path / "shards")
    assert [len(shard) for shard in names(tmp_path / "shards")] == [5, 5]
    after = packed(drawn, tmp_path / "shards")
    assert after["00000.tar"] == before["00000.tar"]
    assert after["00001.tar"] == before["00001.tar"]
    assert names(tmp_path / "shards")[2] == new


def test_a_shard_that_is_not_full_is_filled_first(drawn: Manifest, tmp_path: Path) -> None:
    new = [picture.path for picture in drawn.pictures[8:]]
    before = packed(without(drawn, *new), tmp_path / "shards")
    after = packed(drawn, tmp_path / "shards")
    assert [len(shard) for shard in names(tmp_path / "shards")] == [5, 5, 2]
    assert after["00000.tar"] == before["00000.tar"]


def test_what_the_manifest_no_longer_has_leaves_its_shard(drawn: Manifest, tmp_path: Path) -> None:
    before = packed(drawn, tmp_path / "shards")
    gone = drawn.pictures[6].path
    last = [picture.path for picture in drawn.pictures[10:]]
    after = packed(without(drawn, gone, *last), tmp_path / "shards")
    assert list(after) == ["00000.tar", "00001.tar"]
    assert after["00000.tar"] == before["00000.tar"]
    assert gone not in names(tmp_path / "shards")[1]


def test_a_picture_that_was_replaced_is_packed_anew(drawn: Manifest, tmp_path: Path) -> None:
    packed(drawn, tmp_path / "shards")
    old, other = drawn.pictures[0], drawn.pictures[1]
    shutil.copy(drawn.root / other.path, drawn.root / old.path)
    replaced = dataclasses.replace(old, sha256=other.sha256)
    pack.write_shards(drawn.root, [replaced, *drawn.pictures[1:]], tmp_path / "shards")
    assert read_picture(tmp_path / "shards", replaced) == (drawn.root / other.path).read_bytes()


def test_a_damaged_shard_is_an_error_that_names_it(drawn: Manifest, tmp_path: Path) -> None:
    packed(drawn, tmp_path / "shards")
    (tmp_path / "shards" / "00001.tar").write_bytes(b"x" * 2000)
    with pytest.raises(UserError, match=r"00001\.tar is damaged"):
        read_picture(tmp_path / "shards", drawn.pictures[0])


def test_changed_bytes_in_a_shard_are_an_error(drawn: Manifest, tmp_path: Path) -> None:
    packed(drawn, tmp_path / "shards")
    member = shards.find(tmp_path / "shards" / drawn.pictures[0].path)
    assert member is not None
    with member.shard.open("r+b") as file:
        file.seek(member.offset)
        file.write(b"changed")
    with pytest.raises(UserError, match="was changed after it was prepared"):
        read_picture(tmp_path / "shards", drawn.pictures[0])


def test_a_path_of_any_length_and_script_is_packed(drawn: Manifest, tmp_path: Path) -> None:
    odd = f"cat/{'größe-猫' * 20}.jpg"
    shutil.copy(drawn.root / drawn.pictures[0].path, drawn.root / odd)
    picture = dataclasses.replace(drawn.pictures[0], path=odd)
    pack.write_shards(drawn.root, [picture], tmp_path / "shards")
    assert hashlib.sha256(read_picture(tmp_path / "shards", picture)).hexdigest() == picture.sha256


@pytest.mark.usefixtures("quick")
def test_a_data_folder_with_shards_can_be_moved_and_trained_on_without_the_pictures(
    class_folders: Callable[..., Path], invoke: Callable[..., str], tmp_path: Path
) -> None:
    pictures, recipe = class_folders(tmp_path / "pictures", 16), settings([*TINY, "train.epochs=1"])
    invoke("prepare", pictures, "--out", tmp_path / "files", "--split", "50/25/25", "--no-contact")
    invoke("train", "--data", tmp_path / "files", "--run", tmp_path / "from-files", *recipe)
    invoke("prepare", pictures, "--out", tmp_path / "data", "--split", "50/25/25", "--shards")
    assert len(list((tmp_path / "data" / "contact").glob("*.jpg"))) == 6
    with tarfile.open(tmp_path / "data" / "shards" / "00000.tar") as tar:
        tar.extractall(tmp_path / "unpacked", filter="data")
    with (tmp_path / "data" / "manifest.csv").open(newline="") as file:
        paths = [row["path"] for row in csv.DictReader(file)]
    assert all((tmp_path / "unpacked" / path).read_bytes() == (pictures / path).read_bytes() for path in paths)
    shutil.rmtree(pictures)
    (tmp_path / "data").rename(tmp_path / "moved")
    invoke("train", "--data", tmp_path / "moved", "--run", tmp_path / "from-shards", *recipe)
    assert_equal_weights(tmp_path / "from-files", tmp_path / "from-shards")
    invoke("evaluate", "--data", tmp_path / "moved", "--run", tmp_path / "from-shards")
    assert (tmp_path / "from-shards" / "evaluation" / "mistakes.png").exists()
    assert manifests.read(tmp_path / "moved").root == tmp_path / "moved" / "shards"


def test_without_files_and_shards_the_pictures_are_missing(drawn: Manifest, tmp_path: Path) -> None:
    shutil.rmtree(drawn.root)
    with pytest.raises(UserError, match="The pictures are no longer in"):
        manifests.read(tmp_path / "data")
