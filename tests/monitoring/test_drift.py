"""Verdicts on records, the report, and the tests that they rest on."""

import csv
import json
from pathlib import Path
from typing import Any

import click.testing
import numpy as np
import pytest

import catsdogs
from common.verdicts import Verdict
from handler.components import FILE, PREFIX
from handler.features import measure
from handler.preprocess import InputSpec, decode
from handler.release import read_release
from monitoring.drift import two_samples
from monitoring.drift.judgement import judge_files
from monitoring.drift.two_samples import Outcome, compare, distinct, holm
from tests import zoo
from tests.monitoring.replay import RELEASE, animal_rows

Rows = list[dict[str, Any]]


def reference_rows() -> Rows:
    with (RELEASE / "reference.csv").open(newline="") as file:
        return [
            {"label": row.pop("label"), "features": {name: float(value) for name, value in row.items()}}
            for row in csv.DictReader(file)
        ]


def usual(count: int = 300, seed: int = 0) -> Rows:
    """Return pictures as those of the reference: between two of it that are neighbours in brightness."""
    rng, rows = np.random.default_rng(seed), reference_rows()
    rows.sort(key=lambda row: float(row["features"]["brightness"]))
    made = []
    for _ in range(count):
        at = int(rng.integers(len(rows) - 1))
        first, second = rows[at]["features"], rows[at + 1]["features"]
        weight = {name: rng.random() for name in first}
        blend = {name: first[name] * weight[name] + second[name] * (1 - weight[name]) for name in first}
        blend = {name: (first, second)[rng.random() < 0.5][name] * rng.normal(1, 0.02) for name in blend}
        made.append({"label": rows[at]["label"], "features": blend})
    return made


def write(rows: Rows, folder: Path, sha256: str | None = None) -> Path:
    release = read_release(RELEASE)
    facts = {"components": release.files[FILE], "model": {"sha256": sha256 or release.weights_sha256}}
    lines = [json.dumps({"time": 60.0 * index, **facts, **row}) for index, row in enumerate(rows)]
    (folder / "records-1.jsonl").write_text("\n".join(lines) + "\n")
    return folder


def darkened(rows: Rows) -> Rows:
    return [{**row, "features": {**row["features"], "brightness": row["features"]["brightness"] * 0.7}} for row in rows]


def verdict(rows: Rows, folder: Path, **options: Any) -> Verdict:
    return judge_files([write(rows, folder)], RELEASE, **options)[0].verdict


def test_usual_pictures_pass(tmp_path: Path) -> None:
    assert verdict(usual(), tmp_path) is Verdict.PASS


def test_dark_pictures_are_drift(tmp_path: Path) -> None:
    judgement = judge_files([write(darkened(usual()), tmp_path)], RELEASE)[0]
    assert judgement.verdict is Verdict.BREACH
    assert {name for name, each in judgement.outcomes.items() if each.adjusted <= 0.01} == {
        "all features",
        "brightness",
    }
    assert judgement.psi["brightness"] > 0.2 > judgement.psi["saturation"]


def test_other_classes_are_drift(tmp_path: Path) -> None:
    rows = [{**row, "label": "cat" if index % 10 else "dog"} for index, row in enumerate(usual())]
    judgement = judge_files([write(rows, tmp_path)], RELEASE)[0]
    assert judgement.reason == "These differ from the reference: predicted_class."


def animals() -> Rows:
    """Return 82 photographs of other animals, as they were measured."""
    names = reference_rows()[0]["features"]
    return [{"label": row["label"], "features": {name: float(row[name]) for name in names}} for row in animal_rows()]


def test_photographs_of_other_animals_among_as_many_usual_ones_are_drift(tmp_path: Path) -> None:
    assert verdict([*usual(82), *animals()], tmp_path) is Verdict.BREACH


def without_components(row: dict[str, Any]) -> dict[str, Any]:
    features = {name: value for name, value in row["features"].items() if not name.startswith(PREFIX)}
    return {"label": row["label"], "features": features, "components": None}


def moved(rows: Rows) -> Rows:
    """Return pictures of which the network sees something else, by a standard deviation, and that look as before."""
    shift = float(np.std([row["features"]["component_2"] for row in rows]))
    return [
        {**row, "features": {**row["features"], "component_2": row["features"]["component_2"] + shift}} for row in rows
    ]


def test_what_the_network_sees_may_drift_where_pictures_look_as_ever(tmp_path: Path) -> None:
    judgement = judge_files([write(moved(usual()), tmp_path)], RELEASE)[0]
    assert judgement.verdict is Verdict.BREACH
    assert {name for name, each in judgement.outcomes.items() if each.adjusted <= 0.01} >= {"component_2"}
    assert not any(name.startswith(PREFIX) for name in judgement.psi)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(without_components, id="without components"),
        pytest.param(lambda row: {**row, "components": "0" * 64}, id="components of another reference"),
    ],
)
def test_records_of_which_some_lack_the_components_are_judged_by_the_rest(change: Any, tmp_path: Path) -> None:
    rows = moved(usual())
    command = ["drift", str(write([*rows[:-1], change(rows[-1])], tmp_path)), "--release", str(RELEASE)]
    result = click.testing.CliRunner().invoke(catsdogs.cli, command)
    assert result.exit_code == 0
    assert "component_" not in result.output
    assert (
        "The network's inner features were not compared: 1 of 300 records lack them, or have those of an earlier "
        "reference." in result.output.splitlines()
    )
    judgement, reference, sample = judge_files([tmp_path], RELEASE)
    assert reference.names == sample.names
    smallest = min(each.p for each in judgement.outcomes.values())
    # Holm's correction counts the tests that were made: all features, each of four, and the classes.
    assert len(judgement.outcomes) == 6
    assert min(each.adjusted for each in judgement.outcomes.values()) == pytest.approx(min(1.0, 6 * smallest))


def test_records_that_all_lack_the_components_are_judged_too(tmp_path: Path) -> None:
    rows = [without_components(row) for row in darkened(usual())]
    judgement = judge_files([write(rows, tmp_path)], RELEASE)[0]
    assert judgement.verdict is Verdict.BREACH
    assert judgement.without_components == judgement.document()["without_components"] == 300


def test_a_burst_of_near_identical_pictures_counts_once(tmp_path: Path) -> None:
    rng, rows = np.random.default_rng(1), usual(300)
    one = rows[0]["features"]
    burst = [
        {"label": "cat", "features": {name: value * rng.normal(1, 0.002) for name, value in one.items()}}
        for _ in range(300)
    ]
    assert verdict([*rows, *burst], tmp_path) is Verdict.PASS
    assert verdict(burst, tmp_path) is Verdict.INCONCLUSIVE


def test_only_the_last_hours_are_looked_at(tmp_path: Path) -> None:
    rows = [*darkened(usual(300)), *usual(150, seed=2)]  # one a minute
    assert verdict(rows, tmp_path) is Verdict.BREACH
    assert verdict(rows, tmp_path, hours=2.4) is Verdict.PASS


def test_records_of_another_model_are_invalid(tmp_path: Path) -> None:
    assert judge_files([write(usual(), tmp_path, "0" * 64)], RELEASE)[0].verdict is Verdict.INVALID


def test_broken_records_are_invalid(tmp_path: Path) -> None:
    write(usual(), tmp_path)
    with (tmp_path / "records-1.jsonl").open("a") as file:
        file.write('{"time": 1}\nno record\n' * 30)
    assert judge_files([tmp_path], RELEASE)[0].verdict is Verdict.INVALID


def test_the_command_ends_with_the_verdicts_status_and_writes_its_report(tmp_path: Path) -> None:
    folder = write(darkened(usual()), tmp_path)
    page, document = tmp_path / "drift.html", tmp_path / "drift.json"
    arguments = ["drift", str(folder), "--release", str(RELEASE), "--html", str(page), "--json", str(document)]
    result = click.testing.CliRunner().invoke(catsdogs.cli, arguments)
    assert result.exit_code == 10
    assert result.output.splitlines()[-1].startswith("BREACH: These differ from the reference: all features, bright")
    assert json.loads(document.read_bytes())["tests"]["brightness"]["adjusted_p"] <= 0.01
    text = page.read_text()
    assert text.count("data:image/svg+xml;base64,") == 8
    assert "<h2>component 1 of the network&#39;s inner features</h2>" in text
    assert "http" not in text


def test_without_records_the_sentence_says_what_to_do(tmp_path: Path) -> None:
    result = click.testing.CliRunner().invoke(catsdogs.cli, ["drift", str(tmp_path / "none")])
    assert "name the folder of CATSDOGS_RECORDS" in str(result.exception)


@pytest.mark.parametrize("size", [60, 200])
def test_without_drift_a_test_rejects_as_often_as_its_level(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(two_samples, "PERMUTATIONS", 99)
    rng, rejected = np.random.default_rng(7), dict.fromkeys(("all features", "a", "predicted_class"), 0)
    for seed in range(100):
        first, second = rng.normal(size=(size, 2)), rng.normal(size=(size, 2))
        labels = [rng.choice(["cat", "dog"], size).tolist() for _ in range(2)]
        outcomes = compare(first, second, (labels[0], labels[1]), ["a", "b"], seed)
        for name in rejected:
            rejected[name] += outcomes[name].p <= 0.05
    assert all(number <= 13 for number in rejected.values())  # P(X > 13) is 0.0005 for 100 tests at 0.05


def test_a_shift_of_all_features_together_is_seen_where_no_feature_shows_it() -> None:
    rng = np.random.default_rng(8)
    apart = rng.normal(size=(300, 2))
    x = rng.normal(size=300)
    alike = np.stack([x, x + 0.1 * rng.normal(size=300)], axis=1)  # each has the same distribution alone
    outcomes = compare(apart, alike, (["cat"] * 300, ["cat"] * 300), ["a", "b"])
    assert outcomes["all features"].adjusted <= 0.01
    assert min(outcomes["a"].adjusted, outcomes["b"].adjusted) > 0.01


def test_near_identical_rows_are_kept_once() -> None:
    rows = np.random.default_rng(9).random((100, 4))
    assert distinct(rows, rows) == list(range(100))
    assert distinct(np.vstack([rows, rows * 1.00001]), rows) == list(range(100))
    assert distinct(rows + 10, rows) != [0]  # outside of the reference


def test_one_photograph_stored_in_ten_qualities_counts_once() -> None:
    names = ("brightness", "contrast", "saturation")
    stored = [zoo.encode(zoo.photo(), "JPEG", quality=quality) for quality in range(50, 100, 5)]
    measured = [measure(decode(data, InputSpec(176)), 1, 1) for data in stored]
    reference = np.array([[row["features"][name] for name in names] for row in reference_rows()])
    assert distinct(np.array([[features[name] for name in names] for features in measured]), reference) == [0]


def test_holms_correction_is_that_of_the_book() -> None:
    outcomes = holm({name: Outcome(0, p) for name, p in {"a": 0.01, "b": 0.04, "c": 0.03, "d": 0.005}.items()})
    assert {name: round(each.adjusted, 6) for name, each in outcomes.items()} == {
        "a": 0.03,
        "b": 0.06,
        "c": 0.06,
        "d": 0.02,
    }
