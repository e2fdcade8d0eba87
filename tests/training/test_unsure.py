"""The threshold for unsure answers: chosen by the risk-coverage curve, told in the card, kept where it was measured."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from handler.files import UserError
from handler.release import read_release
from tests.zoo import ROOT, SAMPLES
from training.data.manifest import Manifest
from training.evaluation.card import model_card
from training.evaluation.unsure_section import unsure_section
from training.release.add_unsure import _again, add_unsure, measure_others
from training.release.unsure import at_threshold, choose_threshold

RELEASE = ROOT / "model-store" / "catsdogs"


def test_the_threshold_is_the_smallest_with_so_few_errors() -> None:
    sure = np.repeat([0.6, 0.8, 0.9, 0.99], 100)
    right = np.ones(400, dtype=bool)
    right[:20] = right[100:104] = right[200:201] = False  # 20, 4, 1 and 0 of 100
    chosen = choose_threshold(sure, right, max_risk=0.01)
    # Of 200 answers above 0.8 one is wrong; from 0.605 on there are 300, with 5.
    assert chosen["threshold"] == 0.805
    assert chosen["val"] == {"count": 400, "sure": 200, "wrong": 1, "wrong_of_all": 25}
    assert choose_threshold(sure, right, max_risk=0.02)["threshold"] == 0.605


def test_where_no_threshold_reaches_it_there_is_none() -> None:
    sure, right = np.full(300, 0.99), np.arange(300) % 2 == 0
    chosen = choose_threshold(sure, right)
    assert chosen["threshold"] is None
    assert chosen["val"]["sure"] == 300


def test_a_curve_loses_coverage_as_its_threshold_rises() -> None:
    rng = np.random.default_rng(0)
    sure = rng.uniform(0.5, 1, 2000)
    curve = choose_threshold(sure, rng.uniform(size=2000) < sure)["curve"]
    covered = [point["sure"] for point in curve]
    assert covered == sorted(covered, reverse=True)
    shares = [point["wrong"] / point["sure"] for point in curve]
    assert shares[-1] < shares[0] / 3, "a calibrated network errs less where it is sure"


def test_an_answer_at_the_threshold_is_not_unsure() -> None:
    assert at_threshold(np.array([0.8, 0.7999]), np.array([True, False]), 0.8)["sure"] == 1


@pytest.fixture
def known(release: Path, manifest: Manifest) -> Path:
    """The release, which says that it was trained on the session's manifest."""
    values = json.loads((release / "release.json").read_bytes())
    (release / "release.json").write_text(json.dumps(values | {"manifest_sha256": manifest.sha256}))
    return release


def test_a_threshold_is_written_into_the_release_and_told_in_its_card(
    known: Path, manifest: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError, match="A threshold takes at least 200 val pictures"):
        add_unsure(known, manifest)
    monkeypatch.setattr("training.release.unsure.LEAST_PICTURES", 1)
    made = add_unsure(known, manifest)
    values = json.loads((known / "release.json").read_bytes())
    assert values["unsure"] == made
    assert set(made["precisions"]) == {"fp32", "int8"}
    assert made["precisions"]["fp32"]["val"]["count"] == len(manifest.split("val"))
    assert sum(row["count"] for row in made["precisions"]["fp32"]["test"].values()) == len(manifest.split("test"))
    assert (known / "MODEL_CARD.md").read_text() == model_card(values)


@pytest.fixture
def release(tmp_path: Path) -> Path:
    """A copy of the shipped release."""
    return Path(shutil.copytree(RELEASE, tmp_path / "release"))


def folder_of(place: Path, kind: str) -> None:
    (place / kind).mkdir(parents=True)
    for path in (SAMPLES / "cat").iterdir():
        shutil.copy(path, place / kind)
    (place / kind / "letter.jpg").write_text("no picture")


def test_other_things_are_counted_by_kind_and_told_in_the_card(release: Path, tmp_path: Path) -> None:
    folder_of(tmp_path / "others", "cars")
    paths = sorted((tmp_path / "others" / "cars").iterdir())
    measured = measure_others(release, {"cars": paths})
    values = json.loads((release / "release.json").read_bytes())
    thresholds = read_release(release).unsure
    assert values["unsure"]["others"] == measured
    assert measured["cars"]["count"] == 8, "the letter is no picture"
    assert {name: row["threshold"] for name, row in measured["cars"].items() if name != "count"} == thresholds
    assert (release / "MODEL_CARD.md").read_text() == model_card(values)
    assert "| cars | int8 |" in model_card(values)


def test_a_release_without_a_threshold_says_how_to_get_one(release: Path) -> None:
    values = json.loads((release / "release.json").read_bytes())
    del values["unsure"]
    (release / "release.json").write_text(json.dumps(values))
    with pytest.raises(UserError, match="has no threshold for unsure answers: make it by catsdogs unsure --data"):
        measure_others(release, {"cars": []})


def test_what_was_measured_by_another_threshold_is_not_kept() -> None:
    others = {"cars": {"count": 3, "fp32": {"threshold": 0.8, "unsure": 2}}}
    assert _again(others, {"precisions": {"fp32": {"threshold": 0.8}}}) == others
    assert _again(others, {"precisions": {"fp32": {"threshold": 0.9}}}) == {}


def test_the_card_of_the_shipped_release_tells_what_its_threshold_does() -> None:
    values = json.loads((RELEASE / "release.json").read_bytes())
    section = unsure_section(values["unsure"])
    assert section in (RELEASE / "MODEL_CARD.md").read_text()
    for words in ("risk-coverage curve", "wrong among these", "test, photos", "show none of the classes"):
        assert words in section
    assert unsure_section({}) == ""


def test_a_release_of_another_manifest_is_refused_and_left_as_it_is(release: Path, manifest: Manifest) -> None:
    before = (release / "release.json").read_bytes()
    with pytest.raises(UserError, match="was trained on another manifest"):
        add_unsure(release, manifest)
    assert (release / "release.json").read_bytes() == before
