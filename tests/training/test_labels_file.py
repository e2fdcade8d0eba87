"""Labels from a file instead of class folders."""

import re
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from handler.files import UserError
from training.data import manifest, sources
from training.data.prepare import prepare

Invoke = Callable[..., str]
Photo = Callable[..., Image.Image]


@pytest.fixture
def images(tmp_path: Path, photo: Photo) -> Path:
    """0.jpg to 7.jpg in one folder, as many datasets have them."""
    (tmp_path / "set" / "images").mkdir(parents=True)
    for number in range(8):
        photo(number).save(tmp_path / "set" / "images" / f"{number}.jpg")
    return tmp_path / "set" / "images"


def write(path: Path, lines: list[str], encoding: str = "utf-8") -> Path:
    path.write_text("\n".join(lines) + "\n", encoding=encoding)
    return path


def rows(named: str = "images/", delimiter: str = ",") -> list[str]:
    return [f"{named}{number}.jpg{delimiter}{'Rose' if number % 2 else 'Tulip'}" for number in range(8)]


def labels(file: Path, *folders: Path) -> dict[str, str]:
    prepared = prepare(list(folders), labels=file)
    return {Path(row.path).name: row.label for row in prepared.pictures}


WANTED = {f"{number}.jpg": "rose" if number % 2 else "tulip" for number in range(8)}


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("header", [("path", "label"), ("Filename", "Class")])
def test_a_csv_with_columns_for_path_and_label(images: Path, delimiter: str, header: tuple[str, str]) -> None:
    lines = [delimiter.join(header), *rows(delimiter=delimiter)]
    assert labels(write(images.parent / "labels.csv", lines, "utf-8-sig")) == WANTED


@pytest.mark.parametrize("delimiter", [" ", "\t"])
def test_lines_of_a_path_and_a_label(images: Path, delimiter: str) -> None:
    lines = ["# my flowers", "", *rows(delimiter=delimiter)]
    assert labels(write(images.parent / "labels.txt", lines)) == WANTED


def test_paths_may_be_relative_to_the_pictures(images: Path, tmp_path: Path) -> None:
    file = write(tmp_path / "labels.csv", ["path,label", *rows("")])
    assert labels(file, images) == WANTED


def test_paths_may_hold_spaces_and_be_absolute(images: Path, tmp_path: Path) -> None:
    (images / "0.jpg").rename(images / "my tulip.jpg")
    lines = [line.replace("0.jpg", "my tulip.jpg") for line in rows(f"{images}/", " ")]
    assert labels(write(tmp_path / "labels.txt", lines))["my tulip.jpg"] == "tulip"


def test_paths_from_windows_and_decomposed_names_are_found(images: Path, tmp_path: Path) -> None:
    composed, decomposed = (unicodedata.normalize(form, "blüte.jpg") for form in ("NFC", "NFD"))
    (images / "0.jpg").rename(images / composed)
    lines = ["path,label", *(line.replace("0.jpg", decomposed).replace("/", "\\") for line in rows())]
    by_path = labels(write(images.parent / "labels.csv", lines))
    assert by_path == {composed: "tulip", **{name: label for name, label in WANTED.items() if name != "0.jpg"}}


def test_a_column_gives_the_split(images: Path) -> None:
    sides = ["train", "valid", "test", "train", "train", "validation", "test", "Train"]
    lines = ["path,label,split", *(f"{row},{side}" for row, side in zip(rows(), sides, strict=True))]
    prepared = prepare([], labels=write(images.parent / "labels.csv", lines))
    splits = [row.split for row in sorted(prepared.pictures, key=lambda row: row.path)]
    assert splits == ["train", "val", "test", "train", "train", "val", "test", "train"]


def test_the_command_takes_a_file_of_labels_alone(images: Path, tmp_path: Path, invoke: Invoke) -> None:
    file = write(images.parent / "labels.csv", ["path,label", *rows()])
    invoke("prepare", "--labels", file, "--out", tmp_path / "data", "--no-contact")
    written = manifest.read(tmp_path / "data")
    assert (written.root, written.classes) == (images.parent, ["rose", "tulip"])
    assert written.names == {"rose": "Rose", "tulip": "Tulip"}


@pytest.mark.parametrize(
    ("lines", "sentence"),
    [
        (["path,label", "images/0.jpg,rose", "images/99.jpg,rose"], r"line 3: there is no file images/99\.jpg in "),
        (["path,label", "images/0.jpg,a", "", "images/0.jpg,a"], r"line 4: .*0\.jpg has a label already, in line 2"),
        (["path,label", "images/0.jpg, "], "line 2: the label is empty"),
        (["path,label", "images/0.jpg"], "line 2: the label is empty"),
        (["path,label", ",rose"], "line 2: the path is empty"),
        (["path,label,split", "images/0.jpg,rose,dev"], "line 2: dev is no split. Write train, val or test"),
        (["image_id,breed", "0,rose"], "line 1: the columns must be named path and label, not image_id,breed"),
        (["path,label"], "names no picture"),
        (["path,label", *(f"images/{n}.jpg,{n}" for n in range(8))], "each of the 8 pictures has a label of its own"),
    ],
)  # fmt: skip
def test_a_line_that_is_wrong_is_named(images: Path, lines: list[str], sentence: str) -> None:
    file = write(images.parent / "labels.csv", lines)
    with pytest.raises(UserError, match=f"{re.escape(str(file))}.*{sentence}"):
        prepare([], labels=file)


def test_a_line_of_text_without_a_label_is_named(images: Path) -> None:
    file = write(images.parent / "labels.txt", ["images/0.jpg rose", "images/1.jpg"])
    with pytest.raises(UserError, match=r"labels\.txt, line 2: the label is empty"):
        prepare([], labels=file)


def test_a_picture_with_a_label_that_is_named_for_test_too_is_refused(images: Path, tmp_path: Path) -> None:
    file = write(images.parent / "labels.csv", ["path,label", *rows()])
    with pytest.raises(UserError, match=r"/0\.jpg is named twice: as images, for test and as tulip, without a split"):
        prepare([], labels=file, own_split={"test": [images.parent]})


def test_a_file_in_another_encoding_is_told(images: Path) -> None:
    file = write(images.parent / "labels.csv", ["path,label", *rows()], "utf-16")
    with pytest.raises(UserError, match="is not text in UTF-8"):
        prepare([], labels=file)
    with pytest.raises(UserError, match=r"none\.csv cannot be read: No such file"):
        prepare([], labels=images / "none.csv")


def test_a_file_of_labels_in_place_of_pictures_is_told_how_to_name_it(images: Path) -> None:
    file = write(images.parent / "labels.csv", ["path,label", *rows()])
    with pytest.raises(UserError, match=r"labels\.csv is neither a folder nor a zip file\. .* by --labels"):
        sources.find([file], images.parent)
    with pytest.raises(UserError, match="If a file says which class each picture has, name it by --labels"):
        prepare([images])
