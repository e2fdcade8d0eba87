"""`catsdogs prepare --corrections`: pictures that are removed or labelled otherwise, named by their content."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from handler.files import UserError
from training.data.corrections import Correction, as_csv, read_corrections
from training.data.manifest import Prepared
from training.data.prepare import prepare

Photo = Callable[..., Image.Image]
Folders = Callable[..., Path]
Invoke = Callable[..., str]
HEADER = "sha256,action,reason\n"


@pytest.fixture
def web(tmp_path: Path, class_folders: Folders) -> Path:
    return class_folders(tmp_path / "web", 12)


def sha_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def some(web: Path, label: str, count: int = 1) -> list[Path]:
    """Return the first pictures of a class."""
    return sorted(next(f for f in web.iterdir() if f.name.lower() == label).iterdir())[:count]


def corrections(tmp_path: Path, *rows: Correction) -> Path:
    path = tmp_path / "corrections.csv"
    path.write_bytes(as_csv(rows))
    return path


def split_of(prepared: Prepared) -> dict[str, str]:
    return {picture.path: picture.split for picture in prepared.pictures}


def test_a_removed_picture_is_set_aside_with_the_reason(web: Path, tmp_path: Path) -> None:
    (bad,) = some(web, "cat")
    before = prepare([web])
    after = prepare([web], corrections=corrections(tmp_path, Correction(sha_of(bad), "remove", "neither: a car")))
    name = bad.relative_to(web).as_posix()
    assert [(row.path, row.reason) for row in after.quarantine] == [(name, "removed: neither: a car")]
    left = split_of(before)
    del left[name]
    assert split_of(after) == left, "the others stay in their split"
    assert bad.exists(), "the picture itself is left alone"


def test_a_picture_is_labelled_otherwise(web: Path, tmp_path: Path) -> None:
    (bad,) = some(web, "cat")
    row = Correction(sha_of(bad), "label:Dog", "wrong label: a dog")
    after = prepare([web], corrections=corrections(tmp_path, row))
    labels = {picture.path: picture.label for picture in after.pictures}
    assert labels.pop(bad.relative_to(web).as_posix()) == "dog"
    assert all(label == path.split("/")[0].lower() for path, label in labels.items())
    assert split_of(after) == split_of(prepare([web]))
    assert after.names == prepare([web]).names


def test_removing_the_picture_that_names_a_group_moves_no_other(web: Path, tmp_path: Path, photo: Photo) -> None:
    first = some(web, "dog")[0]
    for quality in (60, 70, 80):
        Image.open(first).save(first.with_name(f"copy-{quality}.jpg"), quality=quality)
    before = prepare([web])
    named = {picture.path: picture for picture in before.pictures}[first.relative_to(web).as_posix()].group
    group = [picture for picture in before.pictures if picture.group == named]
    assert len(group) == 4
    (namer,) = (picture for picture in group if picture.sha256.startswith(named))
    after = prepare([web], corrections=corrections(tmp_path, Correction(namer.sha256, "remove", "both: two animals")))
    kept = {picture.path: picture for picture in before.pictures if picture.sha256 != namer.sha256}
    assert {picture.path: picture for picture in after.pictures} == kept


def test_a_correction_settles_a_contradiction(web: Path, tmp_path: Path) -> None:
    cat, dog = some(web, "cat")[0], some(web, "dog")[0]
    copy = dog.with_name("again.jpg")
    copy.write_bytes(cat.read_bytes())
    assert prepare([web]).reasons() == {"conflicting_labels": 2}
    after = prepare(
        [web], corrections=corrections(tmp_path, Correction(sha_of(cat), "label:cat", "wrong label: a cat"))
    )
    assert not after.quarantine
    assert after.corrections is not None
    assert (after.corrections.relabelled, after.corrections.as_labelled) == (1, 1)
    assert {picture.label for picture in after.pictures if picture.sha256 == sha_of(cat)} == {"cat"}


def test_the_summary_says_what_was_applied(web: Path, tmp_path: Path, invoke: Invoke) -> None:
    file = corrections(
        tmp_path,
        Correction(sha_of(some(web, "cat")[0]), "remove", "neither: a car"),
        Correction(sha_of(some(web, "dog")[0]), "label:cat", "wrong label: a cat"),
        Correction("0" * 64, "remove", "both: of another data set"),
    )
    out = invoke("prepare", web, "--out", tmp_path / "data", "--corrections", file)
    sentence = "Corrections from corrections.csv: 1 pictures removed, 1 labelled otherwise. Its rows that match no "
    assert f"{sentence}picture: 1." in out
    summary = json.loads((tmp_path / "data" / "summary.json").read_bytes())
    assert summary["corrections"] == {
        "file": "corrections.csv",
        "sha256": sha_of(file),
        "removed": 1,
        "relabelled": 1,
        "as_labelled": 0,
        "unmatched": 1,
    }
    assert summary["quarantined_by_reason"] == {"removed": 1}


def test_without_corrections_nothing_changes(web: Path, tmp_path: Path) -> None:
    empty = prepare([web], corrections=corrections(tmp_path))
    assert empty.pictures == prepare([web]).pictures
    assert prepare([web]).corrections is None


SHA = "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"{HEADER}{SHA},delete,neither\n", "line 2: the action 'delete' is unknown. Write remove, or label:"),
        (f"{HEADER}{SHA},label:,a dog\n", "line 2: the action 'label:' is unknown"),
        (f"{HEADER}{SHA},,a dog\n", "line 2: the action '' is unknown"),
        (f"{HEADER}{SHA},remove,\n", "line 2: the reason is empty"),
        (f"{HEADER}{SHA},remove\n", "line 2: the reason is empty"),
        (f"{HEADER}abc,remove,neither\n", "line 2: 'abc' is no sha256"),
        (f"{HEADER}{SHA.upper()},remove,neither\n", "write its 64 digits in lower case"),
        (
            f"{HEADER}{SHA},remove,neither\n{SHA},label:dog,a dog\n",
            f"line 3: the picture {SHA} has a row already, line 2",
        ),
        ("path,label\na.jpg,cat\n", "line 1: the columns must be sha256, action, reason, not path, label"),
        ("", "line 1: the columns must be"),
    ],
)
def test_a_mistake_in_the_file_is_named_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "corrections.csv"
    path.write_text(text)
    with pytest.raises(UserError) as raised:
        read_corrections(path)
    assert message in str(raised.value)


def test_a_label_that_is_no_class_is_refused(web: Path, tmp_path: Path) -> None:
    row = Correction(sha_of(some(web, "cat")[0]), "label:horse", "wrong label: a horse")
    with pytest.raises(UserError, match=r"is labelled horse, which is no class of the pictures \(cat, dog\)"):
        prepare([web], corrections=corrections(tmp_path, row))


def test_a_file_that_cannot_be_read_is_refused(web: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"missing\.csv cannot be read: No such file"):
        prepare([web], corrections=tmp_path / "missing.csv")
    (tmp_path / "latin.csv").write_bytes(f"{HEADER}{SHA},remove,caf\xe9\n".encode("latin-1"))
    with pytest.raises(UserError, match="is not text in UTF-8"):
        read_corrections(tmp_path / "latin.csv")


def test_a_spreadsheet_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "corrections.csv"
    path.write_bytes(f"\ufeff{HEADER}{SHA},remove,neither\r\n".encode())
    assert read_corrections(path).rows == {SHA: Correction(SHA, "remove", "neither")}


def test_a_class_that_is_corrected_away_is_named_with_the_file(web: Path, tmp_path: Path) -> None:
    rows = [Correction(sha_of(path), "remove", "neither: a car") for path in some(web, "cat", 100)]
    with pytest.raises(UserError, match=r"corrections.csv leaves no picture of the class cat: each is removed"):
        prepare([web], corrections=corrections(tmp_path, *rows))
    rows = [Correction(row.sha256, "label:dog", "wrong label: a dog") for row in rows]
    with pytest.raises(UserError, match=r"corrections.csv leaves no picture of the class cat"):
        prepare([web], corrections=corrections(tmp_path, *rows))


def test_an_empty_file_is_refused_in_words(tmp_path: Path) -> None:
    (tmp_path / "empty.csv").touch()
    with pytest.raises(UserError, match="the columns must be sha256, action, reason, not an empty line"):
        read_corrections(tmp_path / "empty.csv")
