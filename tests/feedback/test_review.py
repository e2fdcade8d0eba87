"""`catsdogs feedback review`: a CSV, a page and a contact sheet of the pictures that users gave a label to."""

import csv
import io
from collections.abc import Callable
from pathlib import Path

import click.testing
import pytest
from PIL import Image

from common.review_csv import COLUMNS
from handler.files import UserError
from monitoring.feedback.sheet import MAX_ROWS
from tests.feedback.support import DAY, cat_and_dog, give, id_of, sha256
from tests.zoo import CAT, DOG

Call = Callable[..., click.testing.Result]


def rows(out: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO((out / "review.csv").read_text(), newline="")))


def decide(out: Path, **decisions: str) -> None:
    """Write decisions by the number of the record, as `n1="accept"`."""
    text = (out / "review.csv").read_text().splitlines()
    for name, decision in decisions.items():
        text = [line + decision if line.startswith(id_of(int(name[1:]))) else line for line in text]
    (out / "review.csv").write_text("\n".join(text) + "\n")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return cat_and_dog(tmp_path / "feedback")


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "review"


def test_each_record_is_a_row_without_a_decision(place: Path, out: Path, call: Call) -> None:
    done = call("review", place, "--out", out)
    assert done.exit_code == 0, done.output
    assert "2 records: 2 new, 0 decided, 2 not decided." in done.stdout
    cat, dog = rows(out)
    assert list(cat) == COLUMNS
    assert cat == {
        "id": id_of(1),
        "day": DAY,
        "sha256": sha256(CAT.read_bytes()),
        "picture": f"../feedback/{DAY}/{id_of(1)}.jpg",
        "predicted": "dog",
        "probability": "0.9000",
        "label": "cat",
        "model_version": "1.0.0",
        "conflict": "",
        "decision": "",
    }
    assert (dog["label"], dog["decision"]) == ("dog", "")


def test_labels_that_the_model_contradicts_most_surely_come_first(tmp_path: Path, out: Path, call: Call) -> None:
    place = tmp_path / "feedback"
    for number, (label, probability) in enumerate([("dog", 0.99), ("cat", 0.6), ("dog", 0.55), ("cat", 0.99)]):
        data = CAT.read_bytes() + bytes([number])
        give(place, number, data, label=label, predicted="dog", probability=probability)
    call("review", place, "--out", out)
    assert [int(row["id"], 16) for row in rows(out)] == [3, 1, 2, 0]


def test_run_again_it_keeps_decisions_and_adds_new_records(place: Path, out: Path, call: Call) -> None:
    call("review", place, "--out", out)
    decide(out, n1="accept", n2="reject")
    give(place, 3, DOG.read_bytes() + b"3", day="2026-11-29", label="dog")
    done = call("review", place, "--out", out)
    assert "3 records: 1 new, 2 decided, 1 not decided." in done.stdout
    assert {int(row["id"], 16): row["decision"] for row in rows(out)} == {1: "accept", 2: "reject", 3: ""}
    # What is not decided comes first.
    assert rows(out)[0]["id"] == id_of(3)


def test_run_again_on_the_same_records_it_writes_the_same(place: Path, out: Path, call: Call) -> None:
    call("review", place, "--out", out)
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    call("review", place, "--out", out)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


def test_a_decision_does_not_hold_for_a_record_whose_label_was_changed(place: Path, out: Path, call: Call) -> None:
    call("review", place, "--out", out)
    decide(out, n1="accept")
    give(place, 1, label="dog")
    call("review", place, "--out", out)
    assert next(row["decision"] for row in rows(out) if row["id"] == id_of(1)) == ""


def test_decided_rows_stay_when_their_records_are_deleted(place: Path, out: Path, call: Call) -> None:
    call("review", place, "--out", out)
    decide(out, n1="accept")
    for number in (1, 2):
        (place / DAY / f"{id_of(number)}.json").unlink()
    give(place, 3, DOG.read_bytes() + b"3", label="dog")
    done = call("review", place, "--out", out)
    assert "1 decided rows are kept, although their records are no longer in the place." in done.stderr
    assert {row["id"] for row in rows(out)} == {id_of(1), id_of(3)}


def test_a_review_that_cannot_be_read_is_left_as_it_is(place: Path, out: Path, call: Call) -> None:
    call("review", place, "--out", out)
    decide(out, n1="accept", n2="=1+1")
    before = (out / "review.csv").read_bytes()
    with pytest.raises(UserError, match=r"review.csv: line 3: '=1\+1' is not a label.*nothing was changed"):
        call("review", place, "--out", out)
    assert (out / "review.csv").read_bytes() == before


def test_several_labels_of_one_picture_stand_together_and_are_marked(place: Path, out: Path, call: Call) -> None:
    give(place, 3, label="dog", predicted="dog", probability=0.6)
    done = call("review", place, "--out", out)
    assert "1 pictures have several labels from users; they come first." in done.stdout
    assert [(int(row["id"], 16), row["conflict"]) for row in rows(out)] == [(1, "cat, dog"), (3, "cat, dog"), (2, "")]


def test_pictures_that_were_not_kept_are_found_by_their_sha256(tmp_path: Path, out: Path, call: Call) -> None:
    place = tmp_path / "feedback"
    give(place, 1, CAT.read_bytes(), picture=None)
    give(place, 2, b"never seen again", picture=None)
    done = call("review", place, "--out", out, "--pictures", CAT.parent)
    assert "1 records have no picture that can be shown." in done.stdout
    assert [(out / row["picture"]).resolve() if row["picture"] else None for row in rows(out)] == [CAT.resolve(), None]


def test_the_contact_sheet_shows_each_picture(place: Path, out: Path, call: Call) -> None:
    give(place, 3, b"nothing", picture=None, probability=0.1)
    call("review", place, "--out", out)
    with Image.open(out / "review.png") as sheet:
        assert sheet.format == "PNG"
        middles = [sheet.convert("RGB").crop((8 + 168 * n, 8, 168 + 168 * n, 168)).getcolors(25600) for n in range(4)]
    colors = [len(some or range(25601)) for some in middles]
    # Two photographs, "no picture" in a frame, and nothing.
    assert colors[0] > 1000
    assert colors[1] > 1000
    assert 1 < colors[2] < 300
    assert colors[3] == 1


def test_the_contact_sheet_is_of_bounded_size(tmp_path: Path, out: Path, call: Call) -> None:
    for number in range(6 * MAX_ROWS + 30):
        give(tmp_path / "feedback", number, b"nothing", picture=None)
    call("review", tmp_path / "feedback", "--out", out)
    with Image.open(out / "review.png") as sheet:
        assert sheet.height == MAX_ROWS * (160 + 3 * 15 + 8) + 8


@pytest.mark.parametrize("name", ["nowhere", "https://example.org/feedback"])
def test_a_place_that_is_none_is_one_sentence(out: Path, call: Call, name: str) -> None:
    with pytest.raises(UserError, match=r"is not a folder|is not a place for feedback"):
        call("review", name, "--out", out)
    assert not out.exists()


def test_a_place_without_feedback_is_one_sentence(tmp_path: Path, out: Path, call: Call) -> None:
    with pytest.raises(UserError, match="There is no feedback in this place"):
        call("review", tmp_path, "--out", out)
    assert not out.exists()
