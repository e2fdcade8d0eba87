"""Trees as people have them: classes that teach nothing, links, stray files, two labels for one picture."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from handler.files import UserError
from training.data.prepare import prepare

Invoke = Callable[..., str]
Photo = Callable[..., Image.Image]
Folders = Callable[..., Path]


def paths(folder: Path) -> list[str]:
    return [picture.path for picture in prepare([folder]).pictures]


def test_one_class_is_nothing_to_tell_apart(tmp_path: Path, class_folders: Folders) -> None:
    folder = class_folders(tmp_path / "web", 3)
    shutil.rmtree(folder / "Dog")
    with pytest.raises(UserError, match="needs two classes, and there is one: cat"):
        prepare([folder])


def test_an_empty_class_folder_is_named(tmp_path: Path, class_folders: Folders) -> None:
    folder = class_folders(tmp_path / "web", 3)
    (folder / "Bird").mkdir()
    with pytest.raises(UserError, match=r"The class folder .*/Bird holds no picture that can be used\. Put pictures"):
        prepare([folder])


def test_a_class_folder_without_a_usable_picture_is_named_with_the_reason(
    tmp_path: Path, class_folders: Folders
) -> None:
    folder = class_folders(tmp_path / "web", 3)
    (folder / "Bird").mkdir()
    (folder / "Bird" / "notes.txt").write_text("Birds fly.")
    with pytest.raises(UserError, match=r"/Bird holds no picture .* \(1 set aside, the first: unsupported_image: "):
        prepare([folder])


def test_a_class_of_one_picture_is_named_with_what_to_do(tmp_path: Path, class_folders: Folders, photo: Photo) -> None:
    folder = class_folders(tmp_path / "web", 3)
    (folder / "Bird").mkdir()
    photo(77).save(folder / "Bird" / "1.jpg")
    with pytest.raises(
        UserError, match=r"Class bird has one picture, .*/Bird/1\.jpg, which cannot be both .* Put more"
    ):
        prepare([folder])


@pytest.mark.parametrize("side", ["val", "test"])
def test_a_class_that_is_never_trained_on_is_named(tmp_path: Path, class_folders: Folders, side: str) -> None:
    train, held_out = class_folders(tmp_path / "train", 3), class_folders(tmp_path / side, 3, first_seed=20)
    (held_out / "Dog").rename(held_out / "Fox")
    with pytest.raises(UserError, match=rf"^Class fox has no picture to train on: .*/Fox/\S+ is for {side} only, "):
        prepare([], own_split={"train": [train], side: [held_out]})


def test_a_class_that_is_for_evaluation_only_is_named(tmp_path: Path, class_folders: Folders) -> None:
    folder, photos = class_folders(tmp_path / "web", 3), class_folders(tmp_path / "photos", 3, first_seed=20)
    (photos / "Dog").rename(photos / "Fox")
    with pytest.raises(UserError, match=r"^Class fox has no picture to train on: .*/Fox/\S+ is for test only, "):
        prepare([folder], [photos])


@pytest.mark.parametrize("name", ["new\nline", "soft\u00adhyphen"])
def test_a_class_whose_name_cannot_be_printed_is_refused(tmp_path: Path, class_folders: Folders, name: str) -> None:
    class_folders(tmp_path, 3)
    (tmp_path / "Cat").rename(tmp_path / name)
    with pytest.raises(UserError, match=r"^The class '.*' has characters that cannot be printed, .* Rename its folder"):
        prepare([tmp_path])


def test_nothing_is_written_where_a_class_is_wrong(tmp_path: Path, class_folders: Folders, invoke: Invoke) -> None:
    folder = class_folders(tmp_path / "web", 3)
    (folder / "Bird").mkdir()
    with pytest.raises(UserError):
        invoke("prepare", folder, "--out", tmp_path / "data")
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["scan.jsonl"]


def test_a_stray_file_beside_class_folders_is_no_class(tmp_path: Path, class_folders: Folders) -> None:
    class_folders(tmp_path / "web" / "deep", 2)
    (tmp_path / "web" / "deep" / "labels.csv").write_text("Cat,Dog")
    prepared = prepare([tmp_path / "web"])
    assert (prepared.classes, prepared.quarantine) == (["cat", "dog"], [])


def test_the_same_bytes_under_two_labels_are_set_aside_both(tmp_path: Path, class_folders: Folders) -> None:
    folder = class_folders(tmp_path / "web", 3)
    shutil.copy(folder / "Cat" / "0.jpg", folder / "Dog" / "copy.jpg")
    prepared = prepare([folder])
    assert {row.path: row.reason for row in prepared.quarantine} == {
        "Cat/0.jpg": "conflicting_labels: the same bytes are dog in Dog/copy.jpg",
        "Dog/copy.jpg": "conflicting_labels: the same bytes are cat in Cat/0.jpg",
    }
    assert len(prepared.pictures) == 5


def test_the_same_bytes_under_one_label_stay(tmp_path: Path, class_folders: Folders) -> None:
    folder = class_folders(tmp_path / "web", 3)
    shutil.copy(folder / "Cat" / "0.jpg", folder / "Cat" / "copy.jpg")
    prepared = prepare([folder])
    assert (len(prepared.pictures), prepared.quarantine) == (7, [])


def test_near_duplicates_of_different_classes_stay_on_one_side(
    tmp_path: Path, class_folders: Folders, photo: Photo
) -> None:
    folder = class_folders(tmp_path / "web", 3)
    photo(0, size=(320, 240)).save(folder / "Dog" / "larger.jpg")
    prepared = prepare([folder], ratios=(1, 1, 1))
    placed = {picture.path: (picture.group, picture.split) for picture in prepared.pictures}
    assert placed["Cat/0.jpg"] == placed["Dog/larger.jpg"]
    assert prepared.quarantine == []


def test_a_class_folder_behind_a_link_is_read_and_named_as_the_user_named_it(
    tmp_path: Path, class_folders: Folders
) -> None:
    elsewhere = class_folders(tmp_path / "elsewhere", 2)
    (tmp_path / "web").mkdir()
    for label in ("Cat", "Dog"):
        (tmp_path / "web" / label).symlink_to(elsewhere / label)
    assert paths(tmp_path / "web") == ["Cat/0.jpg", "Cat/1.jpg", "Dog/0.jpg", "Dog/1.jpg"]


def test_links_in_a_circle_end(tmp_path: Path, class_folders: Folders) -> None:
    folder = class_folders(tmp_path / "web", 2)
    (folder / "Cat" / "again").symlink_to(folder)
    (folder / "Dog" / "itself").symlink_to(folder / "Dog" / "itself")
    prepared = prepare([folder])
    assert len(prepared.pictures) == 4
    assert [row.path for row in prepared.quarantine] == ["Dog/itself"]


def test_a_pipe_among_the_pictures_holds_nothing_up(tmp_path: Path, class_folders: Folders) -> None:
    folder = class_folders(tmp_path / "web", 2)
    os.mkfifo(folder / "Cat" / "pipe.jpg")
    prepared = prepare([folder])
    assert [(row.path, row.reason.partition(":")[0]) for row in prepared.quarantine] == [("Cat/pipe.jpg", "not_a_file")]


@pytest.mark.parametrize("out", [".", "data", "Cat/data"])
def test_a_manifest_among_the_pictures_is_refused(
    tmp_path: Path, class_folders: Folders, invoke: Invoke, out: str
) -> None:
    folder = class_folders(tmp_path / "web", 2)
    with pytest.raises(UserError, match=r"lies inside .*/web, which is searched for pictures\. Name another --out"):
        invoke("prepare", folder, "--out", folder / out)
    assert sorted(path.name for path in folder.iterdir()) == ["Cat", "Dog"]


def test_what_is_set_aside_is_told_by_reason(tmp_path: Path, class_folders: Folders, invoke: Invoke) -> None:
    folder, out = class_folders(tmp_path / "web", 3), tmp_path / "data"
    (folder / "Cat" / "broken.jpg").write_bytes(b"broken")
    shutil.copy(folder / "Cat" / "0.jpg", folder / "Dog" / "copy.jpg")
    wanted = f"Cannot be used: 3. By reason: conflicting_labels 2, unsupported_image 1. {out}/quarantine.csv says why."
    assert wanted in invoke("prepare", folder, "--out", out).splitlines()


def test_a_class_that_is_missing_on_a_side_is_told(tmp_path: Path, class_folders: Folders, invoke: Invoke) -> None:
    folder = class_folders(tmp_path / "web", 2)
    photos = class_folders(tmp_path / "photos", 2)
    # Each picture has its twin in the photographs, so all are for test.
    output = invoke("prepare", folder, "--evaluation-only", photos, "--out", tmp_path / "data")
    wanted = "No picture in train and val of cat, dog: add some that differ from each other."
    assert wanted in output.splitlines()


def test_what_is_printed_stands_in_summary_txt(tmp_path: Path, class_folders: Folders, invoke: Invoke) -> None:
    folder, out = class_folders(tmp_path / "web", 10), tmp_path / "data"
    output = invoke("prepare", folder, "--out", out, "--split", "0/1/0")
    kept = (out / "summary.txt").read_text()
    for text in (output, kept):
        rows = [[cell.strip() for cell in line.strip("│").split("│")] for line in text.splitlines()]
        for row in (
            ["cat", "0", "10", "0"],
            ["dog", "0", "10", "0"],
            ["all", "0", "20", "0"],
            ["share", "0.0 %", "100.0 %", "0.0 %"],
        ):
            assert row in rows
        assert "No picture is a near-duplicate of another." in text
    assert output.splitlines()[-1] == kept.splitlines()[-1]


def test_few_pictures_that_cannot_have_the_parts_asked_for_are_counted(
    tmp_path: Path, class_folders: Folders, invoke: Invoke
) -> None:
    folder = class_folders(tmp_path / "web", 4)
    output = invoke("prepare", folder, "--out", tmp_path / "data", "--split", "90/5/5", "--no-contact")
    assert "8 pictures cannot be split exactly 90/5/5: train 4, val 2, test 2." in output


def test_pictures_that_have_the_parts_asked_for_are_not_counted_again(
    tmp_path: Path, class_folders: Folders, invoke: Invoke
) -> None:
    output = invoke("prepare", class_folders(tmp_path / "web", 4), "--out", tmp_path / "data", "--split", "100/0/0")
    assert "cannot be split exactly" not in output
