"""Contact sheets: what a person looks at before a model does."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from training.data import contact
from training.data.contact import COLUMNS, SIDE, file_names, write_sheets
from training.data.manifest import Picture
from training.data.prepare import prepare

Invoke = Callable[..., str]
Folders = Callable[..., Path]


def picture(number: int) -> Picture:
    return Picture(f"cat/{number}.jpg", "cat", "train", f"{number:064}", f"{number:016}", 1, 1)


def test_there_is_a_sheet_for_each_class_and_split_that_has_pictures(
    tmp_path: Path, class_folders: Folders, invoke: Invoke
) -> None:
    folder, out = class_folders(tmp_path / "web", 8), tmp_path / "data"
    invoke("prepare", folder, "--out", out, "--split", "0/1/0")
    assert sorted(path.name for path in (out / "contact").glob("*.jpg")) == ["cat-val.jpg", "dog-val.jpg"]
    with Image.open(out / "contact" / "cat-val.jpg") as sheet:
        assert (sheet.format, sheet.width) == ("JPEG", COLUMNS * SIDE)
        cells = np.asarray(sheet.convert("RGB"), dtype=float)
    # Reddish cats in all eight cells, and white after them.
    height = cells.shape[0] // 2
    for number in range(12):
        top, left = number // COLUMNS * height, number % COLUMNS * SIDE
        red, _, blue = cells[top + SIDE // 2 - 8 : top + SIDE // 2 + 8, left + 56 : left + 72].mean(axis=(0, 1))
        assert (red > 1.5 * blue) if number < 8 else (blue > 250)


def test_none_is_drawn_where_none_is_wanted(tmp_path: Path, class_folders: Folders, invoke: Invoke) -> None:
    invoke("prepare", class_folders(tmp_path / "web", 3), "--out", tmp_path / "data", "--no-contact")
    assert not (tmp_path / "data" / "contact").exists()


def test_sheets_of_an_unchanged_manifest_are_not_drawn_again(
    tmp_path: Path, class_folders: Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared = prepare([class_folders(tmp_path / "web", 3)])
    first = write_sheets(prepared.root, prepared.pictures, "a", tmp_path / "contact")
    drawn: list[int] = []

    def sheet(cells: Sequence[object]) -> bytes:
        drawn.append(len(cells))
        return b""

    monkeypatch.setattr(contact, "sheet", sheet)
    assert write_sheets(prepared.root, prepared.pictures, "a", tmp_path / "contact") == first
    assert drawn == []
    write_sheets(prepared.root, prepared.pictures, "b", tmp_path / "contact")
    assert sum(drawn) == 6


def test_the_sheet_of_a_class_that_is_gone_goes_too(tmp_path: Path, class_folders: Folders) -> None:
    prepared = prepare([class_folders(tmp_path / "web", 3)], ratios=(1, 0, 0))
    write_sheets(prepared.root, prepared.pictures, "a", tmp_path / "contact")
    cats = [picture for picture in prepared.pictures if picture.label == "cat"]
    write_sheets(prepared.root, cats, "b", tmp_path / "contact")
    assert [path.name for path in (tmp_path / "contact").glob("*.jpg")] == ["cat-train.jpg"]


def test_a_picture_that_went_away_leaves_its_cell_empty(tmp_path: Path, class_folders: Folders) -> None:
    prepared = prepare([class_folders(tmp_path / "web", 3)], ratios=(1, 0, 0))
    (prepared.root / "Cat" / "1.jpg").unlink()
    (path, *_) = write_sheets(prepared.root, prepared.pictures, "a", tmp_path / "contact")
    with Image.open(path) as sheet:
        row = np.asarray(sheet.convert("L"))[SIDE // 2]
    assert [bool((row[left : left + SIDE] > 250).all()) for left in (0, SIDE, 2 * SIDE)] == [False, True, False]


def test_odd_labels_have_names_of_their_own_that_any_file_system_takes() -> None:
    labels = ["a b", "a/b", "a_b", "a_b_2", "größe", "<script>", "x" * 300, "x" * 299]
    names = file_names(labels)
    assert len(set(names.values())) == len(labels)
    for name in names.values():
        assert len(f".{name}-train.jpg.123456.part".encode()) < 255
        assert not set(name) & set('/\\ <>:"|?*')
