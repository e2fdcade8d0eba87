"""Oxford-IIIT Pet and CIFAR10 in the layouts that they are published in. The folders are generated."""

import os
import pickle
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from handler.files import UserError
from tests.public_sets import BREEDS, OBJECTS, cifar_batches, cifar_rows, write_cifar, write_cifar_archive, write_pets
from training.data import manifest, sources
from training.data.manifest import Prepared
from training.data.prepare import prepare

Invoke = Callable[..., str]
FEW = ("Abyssinian", "Maine_Coon", "pug", "shiba_inu")


def sides(prepared: Prepared) -> dict[str, str]:
    return {Path(row.path).name: row.split for row in prepared.pictures}


def test_pets_have_the_37_breeds_of_their_file_names(tmp_path: Path, invoke: Invoke) -> None:
    pets = write_pets(tmp_path / "pets")
    output = invoke("prepare", pets, "--out", tmp_path / "data", "--no-contact")
    written = manifest.read(tmp_path / "data")
    assert written.classes == sorted(breed.lower() for breed in BREEDS)
    assert written.names["maine_coon"] == "Maine_Coon"
    assert {row.label for row in written.pictures if "Maine_Coon_" in row.path} == {"maine_coon"}
    assert len(written.pictures) == 5 * 37
    assert "is Oxford-IIIT Pet: 185 pictures of 37 breeds." in output
    assert "/images, since no list of annotations/ names them: 1." in output


def test_species_are_the_classes_where_they_are_asked_for(tmp_path: Path) -> None:
    prepared = prepare([write_pets(tmp_path, breeds=FEW)], species=True)
    assert Counter(row.label for row in prepared.pictures) == {"cat": 10, "dog": 10}
    assert {row.label for row in prepared.pictures if "shiba_inu" in row.path} == {"dog"}


def test_the_official_split_of_pets_is_kept_and_val_comes_from_train(tmp_path: Path) -> None:
    prepared = prepare([write_pets(tmp_path, train=12, test=4, breeds=FEW)], official_split=True)
    test = {name for name, side in sides(prepared).items() if side == "test"}
    listed = (tmp_path / "annotations" / "test.txt").read_text().splitlines()
    assert test == {f"{line.split()[0]}.jpg" for line in listed}
    assert Counter(row.split for row in prepared.pictures)["val"] >= 4


def test_without_being_asked_the_split_goes_by_content(tmp_path: Path) -> None:
    prepared = prepare([write_pets(tmp_path, train=12, test=4, breeds=FEW)])
    test = {name for name, side in sides(prepared).items() if side == "test"}
    assert test
    assert any(int(name.rpartition("_")[2].removesuffix(".jpg")) <= 12 for name in test)


def test_pictures_in_no_list_but_the_whole_one_are_left_out_of_the_official_split(tmp_path: Path) -> None:
    write_pets(tmp_path, train=12, test=4, breeds=FEW)
    with (tmp_path / "annotations" / "list.txt").open("a") as file:
        file.write("Abyssinian_999 1 1 1\n")
    assert len(prepare([tmp_path]).pictures) == 65
    assert len(prepare([tmp_path], official_split=True).pictures) == 64


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            lambda pets: (pets / "images" / "pug_2.jpg").unlink(),
            r"has no pug_2\.jpg, which annotations/ names\. Unpack",
        ),
        (lambda pets: (pets / "annotations" / "test.txt").unlink(), r"test\.txt is missing, which has a side of the"),
        (
            lambda pets: (pets / "annotations" / "test.txt").write_text("../../etc/passwd_1 1 1 1\n"),
            r"test\.txt, line 1: it must be a picture and three numbers",
        ),
        (
            lambda pets: (pets / "annotations" / "test.txt").write_text("pug_1 26 2 18\n"),
            r"test\.txt: pug_1 is in another list too",
        ),
    ],
)
def test_a_damaged_folder_of_pets_is_told(tmp_path: Path, change: Callable[[Path], object], sentence: str) -> None:
    change(write_pets(tmp_path, breeds=FEW))
    with pytest.raises(UserError, match=sentence):
        prepare([tmp_path], official_split=True)


@pytest.mark.parametrize("kind", ["python", "binary", "archive"])
def test_cifar10_is_read_in_every_layout_it_is_published_in(kind: str, tmp_path: Path, invoke: Invoke) -> None:
    named = (
        write_cifar_archive(tmp_path / "set")
        if kind == "archive"
        else write_cifar(tmp_path / "set", binary=kind == "binary")
    )
    arguments = ["prepare", named, "--download-to", tmp_path / "downloads", "--out", tmp_path / "data", "--no-contact"]
    invoke(*arguments)
    written = manifest.read(tmp_path / "data")
    assert written.classes == list(OBJECTS)
    assert Counter(row.label for row in written.pictures) == dict.fromkeys(OBJECTS, 12)
    labels, rows = cifar_rows("test", 5, 2)
    for index, label in ((7, "horse"), (13, "cat")):
        with Image.open(written.root / label / f"test-{index:05}.png") as image:
            assert np.array_equal(np.asarray(image), rows[index].reshape(3, 32, 32).transpose(1, 2, 0))
    assert labels[7] == OBJECTS.index("horse")
    assert "0 of 120 files had to be decoded" in invoke(*arguments)


def test_the_official_split_of_cifar10_is_kept_and_val_comes_from_train(tmp_path: Path) -> None:
    (tree,) = sources.find([write_cifar(tmp_path / "set")], tmp_path / "downloads")
    prepared = prepare([tree], official_split=True, keep_near_duplicates=True)
    assert Counter(row.split for row in prepared.pictures if Path(row.path).name.startswith("test")) == {"test": 20}
    others = Counter(row.split for row in prepared.pictures if Path(row.path).name.startswith("train"))
    assert set(others) == {"train", "val"}
    assert others.total() == 100


def test_batches_of_newer_pythons_are_read_too(tmp_path: Path) -> None:
    labels, rows = cifar_rows("train", 0, 1)
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        folder = tmp_path / f"{protocol}"
        folder.mkdir()
        (folder / "data_batch_1").write_bytes(pickle.dumps({b"data": rows, b"labels": labels}, protocol))
        (tree,) = sources.find([folder], tmp_path / "downloads")
        with Image.open(tree / "frog" / "train-00006.png") as image:
            assert np.array_equal(np.asarray(image), rows[6].reshape(3, 32, 32).transpose(1, 2, 0))


class Calls:
    """Its pickle makes a file when it is read by pickle.load."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("name", ["data_batch_1", "batches.meta"])
def test_a_pickle_that_would_run_code_is_refused_and_runs_none(name: str, tmp_path: Path) -> None:
    write_cifar(tmp_path)
    (tmp_path / "cifar-10-batches-py" / name).write_bytes(pickle.dumps({"labels": Calls(tmp_path / "hacked")}))
    with pytest.raises(UserError, match=rf"{name}.*it wants to call (posix|nt)\.mkdir, which is not allowed"):
        sources.find([tmp_path], tmp_path / "downloads")
    assert not (tmp_path / "hacked").exists()
    assert not list((tmp_path / "downloads").glob("*"))


def test_a_pickle_cannot_change_how_later_ones_are_read(tmp_path: Path) -> None:
    # BUILD with the state (None, {name: value}) sets attributes of what stands on the stack, here of a name it may use.
    (tmp_path / "data_batch_1").write_bytes(b"c_codecs\nencode\n(N}(X\x07\x00\x00\x00__new__K\x01utb.")
    with pytest.raises(UserError, match="it wants to change __new__, which is not allowed"):
        sources.find([tmp_path], tmp_path / "downloads")
    labels, rows = cifar_rows("train", 0, 1)
    (tmp_path / "data_batch_1").write_bytes(pickle.dumps({"data": rows, "labels": labels}, protocol=2))
    assert len(list(sources.find([tmp_path], tmp_path / "downloads")[0].iterdir())) == 10


@pytest.mark.parametrize(
    ("name", "data", "sentence"),
    [
        ("data_batch_1", cifar_batches(1)["data_batch_1"][:-9], "data_batch_1 is no batch of CIFAR10: it is no pickle"),
        ("data_batch_1", pickle.dumps([1]), "data_batch_1 is no batch of CIFAR10: it holds no dict"),
        (
            "data_batch_1",
            pickle.dumps({"data": np.zeros((2, 3072), np.float32), "labels": [1, 2]}),
            "data_batch_1 is no batch of CIFAR10: it holds no array of bytes",
        ),
        (
            "data_batch_1",
            pickle.dumps({"data": np.zeros((2, 3000), np.uint8), "labels": [1, 2]}),
            r"its pictures are \(2, 3000\), not a row of 3072",
        ),
        (
            "data_batch_1",
            pickle.dumps({"data": np.zeros((1, 3072), np.uint8), "labels": [10]}),
            "has a picture of class 10, and there are 10 classes",
        ),
        ("test_batch.bin", b"\3" + bytes(3071), "its 3072 bytes are not rows of 3073"),
        ("batches.meta", pickle.dumps({"label_names": ["../up", "cat"]}), "one that cannot name a folder"),
    ],
)
def test_a_damaged_batch_is_told(name: str, data: bytes, sentence: str, tmp_path: Path) -> None:
    labels, rows = cifar_rows("train", 0, 1)
    (tmp_path / "data_batch_1").write_bytes(pickle.dumps({"data": rows, "labels": labels}))
    (tmp_path / name).write_bytes(data)
    with pytest.raises(UserError, match=sentence):
        sources.find([tmp_path], tmp_path / "downloads")


def test_an_archive_that_was_cut_off_is_told(tmp_path: Path) -> None:
    archive = write_cifar_archive(tmp_path)
    archive.write_bytes(archive.read_bytes()[:20_000])
    with pytest.raises(UserError, match=r"cifar-10-python\.tar\.gz is damaged: "):
        sources.find([archive], tmp_path / "downloads")


def test_options_of_datasets_are_refused_for_other_pictures(class_folders: Callable[..., Path], tmp_path: Path) -> None:
    folder = class_folders(tmp_path, 3)
    with pytest.raises(UserError, match="--species is for Oxford-IIIT Pet"):
        prepare([folder], species=True)
    with pytest.raises(UserError, match="--official-split is for Oxford-IIIT Pet and for CIFAR10"):
        prepare([folder], official_split=True)
    with pytest.raises(UserError, match="--classes-at-top reads folders, not lists"):
        prepare([folder], species=True, classes_at_top=True)
