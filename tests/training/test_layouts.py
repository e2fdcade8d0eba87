"""Trees as people have them: split already, nested, ambiguous; what they mean or why they are refused."""

import re
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from handler.files import UserError
from training.data import manifest
from training.data.manifest import Prepared
from training.data.prepare import prepare

Invoke = Callable[..., str]
Photo = Callable[..., Image.Image]
Grow = Callable[..., Path]


def labels(prepared: Prepared) -> dict[str, str]:
    """The label of each folder that holds pictures."""
    return {Path(row.path).parent.as_posix(): row.label for row in prepared.pictures}


def sides(prepared: Prepared) -> dict[str, set[str]]:
    """The sides of the pictures below each top folder."""
    by_folder: dict[str, set[str]] = {}
    for row in prepared.pictures:
        by_folder.setdefault(Path(row.path).parts[0], set()).add(row.split)
    return by_folder


def test_a_class_folder_in_place_of_the_folder_of_classes_is_told(grow: Grow) -> None:
    root = grow("rose", "tulip")
    wanted = f"If it is a class itself, name the folder above it: {root}."
    with pytest.raises(UserError, match=re.escape(wanted)):
        prepare([root / "rose", root / "tulip"])


@pytest.mark.parametrize("val", ["val", "valid", "validation", "Val", "VALIDATION"])
def test_folders_named_train_val_and_test_are_the_users_split(grow: Grow, val: str) -> None:
    root = grow(*(f"{side}/{label}" for side in ("Train", val, "test") for label in ("rose", "tulip")))
    prepared = prepare([root])
    assert prepared.classes == ["rose", "tulip"]
    assert sides(prepared) == {"Train": {"train"}, val: {"val"}, "test": {"test"}}
    assert "Your own split was kept: train, val, test." in prepared.notes


def test_val_is_taken_from_train_where_there_are_train_and_test_alone(grow: Grow) -> None:
    root = grow("train/rose", "train/tulip", count=20)
    grow("test/rose", "test/tulip")
    prepared = prepare([root])
    assert sides(prepared) == {"train": {"train", "val"}, "test": {"test"}}
    counts = prepared.counts()
    assert min(counts[label, "val"] for label in ("rose", "tulip")) >= 1
    assert prepared.notes == [
        "Your own split was kept: train, test. Pictures for val were taken from those for training, by content, "
        "in the ratio 80/10."
    ]


def test_test_is_taken_from_train_where_there_are_train_and_val_alone(grow: Grow) -> None:
    root = grow("train/rose", "train/tulip", count=20)
    grow("val/rose", "val/tulip")
    prepared = prepare([root])
    assert sides(prepared) == {"train": {"train", "test"}, "val": {"val"}}
    assert min(prepared.counts()[label, "test"] for label in ("rose", "tulip")) >= 1


def test_a_split_can_be_named_by_options(grow: Grow, tmp_path: Path, invoke: Invoke) -> None:
    root = grow(*(f"{side}/{label}" for side in ("a", "b", "c", "d") for label in ("rose", "tulip")))
    options = ("--train", root / "a", "--train", root / "b", "--val", root / "c", "--test", root / "d")
    output = invoke("prepare", *options, "--out", tmp_path / "data", "--no-contact")
    split_of = {Path(row.path).parts[0]: row.split for row in manifest.read(tmp_path / "data").pictures}
    assert split_of == {"a": "train", "b": "train", "c": "val", "d": "test"}
    assert "Your own split was kept: train, val, test." in output


def test_pictures_beside_a_test_folder_are_for_training_and_val(grow: Grow) -> None:
    root = grow("web/rose", "web/tulip", count=20)
    grow("held-out/rose", "held-out/tulip")
    prepared = prepare([root / "web"], own_split={"test": [root / "held-out"]})
    assert sides(prepared) == {"web": {"train", "val"}, "held-out": {"test"}}


def test_pictures_beside_a_train_folder_are_refused(grow: Grow) -> None:
    root = grow("web/rose", "web/tulip", "own/rose", "own/tulip")
    with pytest.raises(
        UserError, match=r"/web/rose/0\.jpg stands in no folder of a split.* by --train, --val or --test"
    ):
        prepare([root / "web"], own_split={"train": [root / "own"]})


def test_a_split_without_anything_to_train_on_is_refused(grow: Grow) -> None:
    root = grow("test/rose", "test/tulip")
    with pytest.raises(UserError, match="no pictures to train on: name a folder of them by --train"):
        prepare([root])


def test_pictures_in_folders_of_a_split_have_no_class(grow: Grow) -> None:
    root = grow("train", "test")
    with pytest.raises(UserError, match=r"/test is named like a split and holds pictures themselves.*--labels"):
        prepare([root])


def test_split_folders_beside_class_folders_are_refused(grow: Grow) -> None:
    root = grow("train/rose", "train/tulip", "daisy")
    with pytest.raises(UserError, match=r"/flowers holds split folders \(train\) beside others \(daisy\)"):
        prepare([root])


def test_an_empty_folder_of_a_split_is_named(grow: Grow) -> None:
    root = grow("train/rose", "train/tulip")
    (root / "test").mkdir()
    with pytest.raises(
        UserError, match=r"/flowers/test holds no class folders with pictures\. Fill it or take it away"
    ):
        prepare([root])


def test_a_class_may_be_named_train_if_the_user_says_so(grow: Grow) -> None:
    root = grow("train", "bus", "car")
    with pytest.raises(UserError, match="if all of them are classes, add --classes-at-top"):
        prepare([root])
    assert prepare([root], classes_at_top=True).classes == ["bus", "car", "train"]


def test_what_lies_deeper_belongs_to_the_class_above(grow: Grow) -> None:
    root = grow("rose/garden", "rose/wild", "tulip/field")
    assert labels(prepare([root])) == {"rose/garden": "rose", "rose/wild": "rose", "tulip/field": "tulip"}


def test_what_lies_deeper_belongs_to_the_class_in_a_split_too(grow: Grow) -> None:
    root = grow("train/rose/garden", "train/rose/wild", "train/tulip/field", "test/rose/wild", "test/tulip/field")
    prepared = prepare([root])
    assert prepared.classes == ["rose", "tulip"]
    assert sides(prepared)["test"] == {"test"}


@pytest.mark.parametrize("folders", [("rose", "rose/more", "tulip"), ("rose", "more/tulip")])
def test_pictures_at_several_depths_are_refused_unless_the_user_says_what_they_mean(
    grow: Grow, folders: tuple[str, ...]
) -> None:
    root = grow(*folders)
    higher, deeper = folders[0], folders[1]
    wanted = f"several depths: in {root}/{higher} and in {root}/{deeper}, so it is unclear"
    with pytest.raises(UserError, match=re.escape(wanted)):
        prepare([root])
    tops = sorted({folder.partition("/")[0] for folder in folders})
    assert prepare([root], classes_at_top=True).classes == tops


def test_a_split_within_each_class_is_refused_with_where_to_move_it(grow: Grow) -> None:
    root = grow("rose/train", "rose/test", "tulip/train", "tulip/test")
    wanted = f"{root}/rose/test is named like a split and lies in a class folder. Move it to {root}/test/rose to keep"
    with pytest.raises(UserError, match=re.escape(wanted)):
        prepare([root])
    assert prepare([root], classes_at_top=True).classes == ["rose", "tulip"]


def test_a_folder_that_is_named_for_two_sides_is_refused(grow: Grow) -> None:
    root = grow("rose", "tulip")
    with pytest.raises(UserError, match="/flowers is named twice, for different splits"):
        prepare([root], own_split={"test": [root]})


def test_one_class_in_several_folders_is_refused_with_how_to_name_them(grow: Grow) -> None:
    root = grow("2021/rose", "2021/tulip", "2022/Rose", "2022/tulip")
    wanted = f"{root}/2021/rose and {root}/2022/Rose. If it is a class, name the folders that hold the classes: "
    with pytest.raises(UserError, match=re.escape(f"{wanted}catsdogs prepare {root}/2021 {root}/2022 ")):
        prepare([root])
    assert prepare([root / "2021", root / "2022"]).classes == ["rose", "tulip"]
    assert prepare([root], classes_at_top=True).classes == ["2021", "2022"]


def test_files_that_are_no_pictures_do_not_make_a_tree_ambiguous(grow: Grow) -> None:
    root = grow("rose/garden", "tulip/field")
    for name in ("readme.txt", "rose/notes.txt", "tulip/field/Thumbs.db"):
        (root / name).write_text("Flowers.")
    prepared = prepare([root])
    assert prepared.classes == ["rose", "tulip"]
    assert [row.path for row in prepared.quarantine] == ["rose/notes.txt", "tulip/field/Thumbs.db"]


def test_a_picture_beside_class_folders_is_set_aside_with_the_reason(grow: Grow, photo: Photo) -> None:
    root = grow("rose", "tulip")
    photo(99).save(root / "cover.png")
    (row,) = prepare([root]).quarantine
    assert (row.path, row.reason) == ("cover.png", "no_class: it lies beside the class folders, not in one")


@pytest.mark.parametrize("wrapper", ["PetImages", "archive/dataset"])
def test_a_folder_alone_in_another_is_looked_into_and_told(grow: Grow, tmp_path: Path, wrapper: str) -> None:
    grow(f"{wrapper}/rose", f"{wrapper}/tulip")
    prepared = prepare([tmp_path / "flowers"])
    assert prepared.classes == ["rose", "tulip"]
    assert prepared.notes == [f"The classes were read from {tmp_path}/flowers/{wrapper}."]


def test_a_split_below_a_folder_of_its_own_name_is_found(grow: Grow) -> None:
    # As Kaggle's archives have it.
    root = grow("train/train/rose", "train/train/tulip", "test/test/rose", "test/test/tulip")
    prepared = prepare([root])
    assert prepared.classes == ["rose", "tulip"]
    assert sides(prepared)["test"] == {"test"}


def test_one_class_alone_in_a_tree_is_the_class_of_the_others(grow: Grow) -> None:
    root = grow("web/rose", "web/tulip", "photos/rose/garden", "photos/rose/wild")
    prepared = prepare([root / "web"], [root / "photos"])
    assert prepared.classes == ["rose", "tulip"]


def test_a_tree_for_evaluation_alone_may_lie_among_the_others(grow: Grow) -> None:
    root = grow("rose", "tulip", "held-out/rose", "held-out/tulip")
    prepared = prepare([root], [root / "held-out"])
    assert prepared.classes == ["rose", "tulip"]
    assert sides(prepared)["held-out"] == {"test"}


def test_a_tree_for_evaluation_alone_is_for_test_whatever_its_folders_are_called(grow: Grow) -> None:
    root = grow("web/rose", "web/tulip", "photos/train/rose", "photos/train/tulip", "photos/val/rose")
    prepared = prepare([root / "web"], [root / "photos"])
    assert prepared.classes == ["rose", "tulip"]
    assert sides(prepared)["photos"] == {"test"}


def test_composed_and_decomposed_names_are_one_class(grow: Grow, tmp_path: Path) -> None:
    composed, decomposed = (unicodedata.normalize(form, "Löwenzahn") for form in ("NFC", "NFD"))
    root = grow(f"a/{composed}", f"b/{decomposed}", "a/rose", "b/rose")
    assert composed != decomposed
    prepared = prepare([root / "a", root / "b"])
    assert prepared.classes == ["löwenzahn", "rose"]
    assert prepared.names == {"löwenzahn": composed}


def test_classes_keep_the_name_that_the_user_wrote(grow: Grow, tmp_path: Path, invoke: Invoke) -> None:
    root = grow("Golden Retriever", "pug", "Shiba Inu")
    invoke("prepare", root, "--out", tmp_path / "data", "--no-contact")
    written = manifest.read(tmp_path / "data")
    assert written.classes == ["golden retriever", "pug", "shiba inu"]
    assert written.names == {"golden retriever": "Golden Retriever", "shiba inu": "Shiba Inu"}


def test_of_two_spellings_the_usual_one_is_shown(grow: Grow, tmp_path: Path) -> None:
    root = grow("a/PUG", "a/cat")
    grow("b/Pug", "b/cat", count=5)
    assert prepare([root / "a", root / "b"]).names == {"pug": "Pug"}
