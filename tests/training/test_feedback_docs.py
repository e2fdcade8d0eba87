"""The commands of docs/how-to/review-feedback.md, typed one after another by one person."""

import csv
import json
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.documentation import run_by
from tests.feedback.support import give, sha256
from tests.zoo import CAT, DOG

Invoke = Callable[..., str]


@pytest.fixture
def desk(tmp_path: Path, class_folders: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with pictures, and feedback on two photographs, one of which was not kept but lies in archive."""
    class_folders(tmp_path / "pictures", 4)
    give(tmp_path / "feedback", 1, CAT.read_bytes(), label="cat")
    give(tmp_path / "feedback", 2, DOG.read_bytes(), label="dog", picture=None)
    (tmp_path / "archive").mkdir()
    shutil.copy(DOG, tmp_path / "archive")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_commands_lead_from_feedback_to_a_manifest_and_a_plot(desk: Path, invoke: Invoke) -> None:
    review, again, prepare, accuracy = (shlex.split(block.commands[0])[1:] for block in run_by(__file__))
    assert "1 records have no picture" in invoke(*review)
    assert "2 records: 0 new" in invoke(*again)
    table = desk / "review" / "review.csv"
    table.write_text("".join(f"{line}{'accept' * (line[0] == '0')}\n" for line in table.read_text().splitlines()))
    invoke(*prepare, "--no-contact")
    with (desk / "data" / "manifest.csv").open(newline="") as file:
        labels = {row["sha256"]: row["label"] for row in csv.DictReader(file)}
    assert len(labels) == 10
    assert (labels[sha256(CAT.read_bytes())], labels[sha256(DOG.read_bytes())]) == ("cat", "dog")
    assert "2 of 2 records are counted." in invoke(*accuracy)
    assert json.loads((desk / "accuracy.json").read_bytes())["reviewed"] is True
    assert "2026-W48" in (desk / "accuracy.html").read_text()
