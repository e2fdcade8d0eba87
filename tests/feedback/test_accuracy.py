"""`catsdogs feedback accuracy`: accuracy over time by version, among the pictures with feedback."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click.testing
import pytest

from common.wilson import wilson_bounds
from handler.files import UserError
from monitoring.feedback.accuracy import CAVEAT
from tests.feedback.support import MODEL, give, id_of

Call = Callable[..., click.testing.Result]
OLD = MODEL
NEW = {**MODEL, "version": "1.1.0", "sha256": "cd" * 32}


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Return a place with 10 pictures of version 1.0.0, 6 of them right, and 10 of version 1.1.0, 9 right."""
    folder = tmp_path / "feedback"
    for number in range(20):
        model, day = (OLD, "2026-11-23") if number < 10 else (NEW, f"2026-11-{24 + number // 15 * 6}")
        right = number % 10 < (6 if model is OLD else 9)
        data = f"picture {number}".encode()
        give(folder, number, data, day=day, label="cat", predicted="cat" if right else "dog", model=model, picture=None)
    return folder


def figures(call: Call, place: Path, tmp_path: Path, *arguments: str | Path) -> Any:
    done = call("accuracy", place, "--json", tmp_path / "figures.json", *arguments)
    assert done.exit_code == 0, done.output
    return json.loads((tmp_path / "figures.json").read_bytes())


def shares(document: Any, key: str = "periods") -> list[tuple[str, str, int, int]]:
    return [(row["period"], row["version"], row["right"], row["count"]) for row in document[key]]


def test_each_version_has_a_figure_for_each_day(call: Call, place: Path, tmp_path: Path) -> None:
    document = figures(call, place, tmp_path)
    assert shares(document) == [
        ("2026-11-23", "1.0.0", 6, 10),
        ("2026-11-24", "1.1.0", 5, 5),
        ("2026-11-30", "1.1.0", 4, 5),
    ]
    assert shares(document, "versions") == [("all", "1.0.0", 6, 10), ("all", "1.1.0", 9, 10)]


def test_a_figure_has_wilsons_interval(call: Call, place: Path, tmp_path: Path) -> None:
    row = figures(call, place, tmp_path)["versions"][0]
    assert row["accuracy"] == pytest.approx(0.6)
    assert (row["low"], row["high"]) == pytest.approx(wilson_bounds(6, 10, 0.975))
    # R: prop.test(6, 10, correct=FALSE)
    assert (row["low"], row["high"]) == pytest.approx((0.3127, 0.8318), abs=1e-4)


def test_weeks_are_those_of_iso_8601(call: Call, place: Path, tmp_path: Path) -> None:
    document = figures(call, place, tmp_path, "--by", "week")
    assert [row["period"] for row in document["periods"]] == ["2026-W48", "2026-W48", "2026-W49"]


def test_it_says_that_people_report_mistakes_more_often(call: Call, place: Path, tmp_path: Path) -> None:
    assert CAVEAT in call("accuracy", place).stdout
    assert "lower estimates" in figures(call, place, tmp_path)["caveat"]


def test_a_picture_counts_once_for_each_version(call: Call, place: Path, tmp_path: Path) -> None:
    for number in range(50, 60):
        give(place, number, b"picture 1", model=NEW, label="cat", predicted="cat", picture=None)
    document = figures(call, place, tmp_path)
    assert shares(document, "versions") == [("all", "1.0.0", 6, 10), ("all", "1.1.0", 10, 11)]
    assert document["left_out"]["same picture again"] == 9


def test_several_labels_of_one_picture_are_left_out(call: Call, place: Path, tmp_path: Path) -> None:
    give(place, 50, b"picture 1", label="dog", picture=None)
    document = figures(call, place, tmp_path)
    assert shares(document, "versions")[0] == ("all", "1.0.0", 5, 9)
    assert document["left_out"]["several labels"] == 2


def test_pictures_that_show_none_of_the_classes_are_left_out(call: Call, place: Path, tmp_path: Path) -> None:
    give(place, 50, b"a horse", label="other", picture=None)
    document = figures(call, place, tmp_path)
    assert sum(row["count"] for row in document["versions"]) == 20
    assert document["left_out"]["other"] == 1


def test_two_models_of_one_version_are_told_apart(call: Call, place: Path, tmp_path: Path) -> None:
    give(place, 50, b"another", model={**OLD, "sha256": "ef" * 32}, picture=None)
    versions = [row["version"] for row in figures(call, place, tmp_path)["versions"]]
    assert sorted(versions) == ["1.0.0 (abababab)", "1.0.0 (efefefef)", "1.1.0"]


def test_after_a_review_only_accepted_and_corrected_labels_count(call: Call, place: Path, tmp_path: Path) -> None:
    call("review", place, "--out", tmp_path / "review")
    table = tmp_path / "review" / "review.csv"
    # 0 to 5 are right, 6 to 9 wrong: two of the labels are accepted, one is corrected, one is rejected.
    decisions = {0: "accept", 6: "accept", 7: "dog", 8: "reject"}
    lines = [
        line + decisions.get(int(line[:32], 16), "") if line[0] == "0" else line
        for line in table.read_text().splitlines()
    ]
    table.write_text("\n".join(lines) + "\n")
    document = figures(call, place, tmp_path, "--reviewed", table)
    assert shares(document, "versions") == [("all", "1.0.0", 2, 3)]
    assert document["left_out"]["not accepted in the review"] == 17
    assert document["reviewed"] is True


@pytest.mark.parametrize(
    ("floor", "more", "status", "verdict"),
    [
        ("0.5", [], 0, "PASS: version 1.1.0: 9 of 10 predictions with feedback are correct: at least 0.65"),
        ("0.9", [], 11, "INCONCLUSIVE: version 1.1.0: 9 of 10"),
        ("0.99", ["--version", "1.0.0"], 10, "BREACH: version 1.0.0: 6 of 10"),
        ("0.5", ["--version", "3"], 11, "INCONCLUSIVE: There is no feedback for version 3."),
    ],
)
def test_the_exit_status_is_a_gates(
    call: Call, place: Path, floor: str, more: list[str], status: int, verdict: str
) -> None:
    done = call("accuracy", place, "--min-accuracy", floor, *more)
    assert done.exit_code == status
    assert done.stdout.splitlines()[-1].startswith(verdict)


def test_a_place_of_broken_records_alone_is_invalid(call: Call, tmp_path: Path) -> None:
    give(tmp_path / "feedback", 1).write_text("{")
    done = call("accuracy", tmp_path / "feedback", "--min-accuracy", "0.5")
    assert done.exit_code == 12
    assert done.stderr.startswith(f"2026-11-28/{id_of(1)}.json is left out: it is not JSON.")


def test_a_version_without_a_floor_is_one_sentence(call: Call, place: Path) -> None:
    with pytest.raises(UserError, match="give both"):
        call("accuracy", place, "--version", "1.0.0")


def test_a_review_that_is_not_there_is_one_sentence(call: Call, place: Path) -> None:
    with pytest.raises(UserError, match=r"There is no none\.csv\. Make it by: catsdogs feedback review"):
        call("accuracy", place, "--reviewed", "none.csv")
