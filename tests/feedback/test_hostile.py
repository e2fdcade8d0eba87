"""Records that a stranger wrote: they harm nothing, and one line tells of each."""

import io
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click.testing
import pytest
from PIL import Image

from monitoring.feedback.pictures import CPU_S
from monitoring.feedback.record import MAX_BYTES, parse
from tests.bombs import jpeg_of_scans
from tests.feedback.support import DAY, cat_and_dog, give, id_of, record, sha256
from tests.zoo import CAT

Call = Callable[..., click.testing.Result]
HTML = "<img src=x onerror=alert(1)>"


def bomb() -> bytes:
    """A PNG of a few thousand bytes and 400 million pixels."""
    buffer = io.BytesIO()
    Image.new("1", (20_000, 20_000)).save(buffer, "PNG")
    return buffer.getvalue()


def review(call: Call, place: Path, out: Path) -> tuple[list[str], str]:
    """Return the lines of what cannot be used, and review.csv."""
    done = call("review", place, "--out", out)
    assert done.exit_code == 0, done.output
    return done.stderr.splitlines(), (out / "review.csv").read_text()


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return cat_and_dog(tmp_path / "feedback")


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "review"


@pytest.mark.parametrize(
    ("members", "why"),
    [
        ({"label": HTML}, "its label is not a label"),
        ({"label": "=HYPERLINK(1)"}, "its label is not a label"),
        ({"label": "cat\n9,9"}, "its label is not a label"),
        ({"label": ["cat"]}, "its label is not a label"),
        ({"predicted": "\x1b[2J"}, "its predicted is not a label"),
        ({"id": id_of(8)}, "its id differs from its file name"),
        ({"picture": "../../../etc/passwd"}, "its picture is not named after its id"),
        ({"picture": f"{id_of(7)}.json"}, "its picture is not named after its id"),
        ({"picture": f"../{DAY}/{id_of(7)}.jpg"}, "its picture is not named after its id"),
        ({"picture": 7}, "its picture is not named after its id"),
        ({"sha256": "../x"}, "its sha256 is missing or has characters that are not allowed"),
        ({"probability": 1.5}, "its probability is not between 0 and 1"),
        ({"probability": float("nan")}, "its probability is not between 0 and 1"),
        ({"probability": True}, "its probability is not between 0 and 1"),
        ({"predicted_at": "yesterday"}, "its predicted_at is not a time such as 2026-11-29T08:00:00Z"),
        ({"predicted_at": "0001-01-01T00:00:00+14:00"}, "its predicted_at is out of range"),
        ({"model": None}, "it does not name the model"),
        (
            {"model": {"name": "c", "version": "<b>", "sha256": "ab" * 32, "precision": "int8"}},
            "its version is missing",
        ),
    ],
)
def test_a_member_that_is_not_as_it_must_be_leaves_the_record_out(members: dict[str, Any], why: str) -> None:
    raw = json.dumps({**record(7, b""), **members}).encode()
    with pytest.raises(ValueError, match=why):
        parse(raw, id_of(7), DAY)


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b"\xff\xfe", b"[" * 50_000, b'"text"', b"1" * 5000])
def test_a_file_that_is_no_record_leaves_it_out(raw: bytes) -> None:
    with pytest.raises(ValueError, match=r"it is not JSON|it is not a JSON object"):
        parse(raw, id_of(7), DAY)


def test_a_broken_record_is_told_in_one_line_and_the_others_are_reviewed(place: Path, out: Path, call: Call) -> None:
    give(place, 7).write_text("{")
    lines, table = review(call, place, out)
    assert lines == [f"{DAY}/{id_of(7)}.json is left out: it is not JSON."]
    assert table.count("\n") == 3


def test_a_huge_record_is_not_read(place: Path, out: Path, call: Call) -> None:
    with give(place, 7).open("ab") as file:
        file.truncate(1 << 40)
    lines, _ = review(call, place, out)
    assert lines == [f"{DAY}/{id_of(7)}.json is left out: it has more than {MAX_BYTES} bytes."]


def test_html_in_a_label_reaches_neither_the_page_nor_the_table(place: Path, out: Path, call: Call) -> None:
    give(place, 7, label=HTML)
    lines, table = review(call, place, out)
    assert lines == [f"{DAY}/{id_of(7)}.json is left out: its label is not a label."]
    assert "onerror" not in table
    assert "onerror" not in (out / "review.html").read_text()


def test_links_and_pipes_are_not_followed(place: Path, out: Path, call: Call, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(CAT.read_bytes())
    give(place, 7, picture=f"{id_of(7)}.png")
    (place / DAY / f"{id_of(7)}.png").symlink_to(tmp_path / "secret")
    give(place, 8).unlink()
    os.mkfifo(place / DAY / f"{id_of(8)}.json")
    give(tmp_path / "elsewhere", 9)
    (place / "2026-11-27").symlink_to(tmp_path / "elsewhere" / DAY)
    lines, table = review(call, place, out)
    assert lines == [
        f"{DAY}/{id_of(8)}.json is left out: it is not a regular file.",
        f"{DAY}/{id_of(7)}.png is not shown: it cannot be read: Too many levels of symbolic links.",
    ]
    assert id_of(9) not in table


def test_files_that_are_no_records_are_not_looked_at(place: Path, out: Path, call: Call) -> None:
    (place / DAY / "..json").write_text("{")
    (place / DAY / "notes.json").write_text("{")
    (place / "other").mkdir()
    lines, table = review(call, place, out)
    assert lines == []
    assert table.count("\n") == 3


def test_an_id_that_stands_in_two_days_counts_once(place: Path, out: Path, call: Call) -> None:
    give(place, 1, label="dog", day="2026-11-30")
    lines, _ = review(call, place, out)
    assert lines == [f"2026-11-30/{id_of(1)}.json is left out: a record of {DAY} has the same id."]
    review(call, place, out)


def test_a_picture_that_is_another_one_is_not_shown(place: Path, out: Path, call: Call) -> None:
    give(place, 7, sha256="0" * 64)
    lines, table = review(call, place, out)
    assert lines == [f"{DAY}/{id_of(7)}.jpg is not shown: its sha256 differs from the record's."]
    assert f"{id_of(7)},{DAY},{'0' * 64},,dog" in table


def test_a_picture_of_too_many_pixels_is_not_decoded(place: Path, out: Path, call: Call) -> None:
    data = bomb()
    give(place, 7, data)
    (line,), table = review(call, place, out)
    assert line.startswith(f"{DAY}/{id_of(7)}.jpg is not shown: too_many_pixels: ")
    assert f"{id_of(7)},{DAY},{sha256(data)},,dog" in table


def test_a_picture_that_keeps_the_decoder_busy_is_given_up(
    place: Path, out: Path, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("monitoring.feedback.pictures.CPU_S", CPU_S / 50)
    give(place, 7, jpeg_of_scans(4000))
    lines, _ = review(call, place, out)
    assert lines == [f"{DAY}/{id_of(7)}.jpg is not shown: it takes too much time or memory to decode."]


def test_a_huge_picture_is_not_read(place: Path, out: Path, call: Call) -> None:
    give(place, 7)
    with (place / DAY / f"{id_of(7)}.jpg").open("ab") as file:
        file.truncate(1 << 40)
    lines, _ = review(call, place, out)
    assert lines == [f"{DAY}/{id_of(7)}.jpg is not shown: it has more than {16 << 20} bytes."]
