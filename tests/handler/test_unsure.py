"""Answers that say whether they are unsure: only where that is asked for, by the threshold of the precision."""

import base64
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from handler.catsdogs_handler import CatsDogsHandler
from handler.problem import Problem
from handler.release import read_release
from handler.unsure import VARIABLE, parse_thresholds, read_unsure, threshold_of
from tests import zoo
from tests.handler.test_catsdogs_handler import REST, V1, V2, Context, v1, v2

CAT, DOG = zoo.CAT.read_bytes(), zoo.DOG.read_bytes()
ASKED = {"X-Catsdogs-Unsure": "true"}
CONDITIONS = ("blurred", "rotated by 90 degrees")
SAID = ("unsure", "uncalibrated_if")


@pytest.fixture
def choosing(ready: CatsDogsHandler, monkeypatch: pytest.MonkeyPatch) -> CatsDogsHandler:
    """A model whose threshold lies between its probabilities for two pictures."""
    pair = [json.loads(body) for body in ready.handle([{"body": CAT}, {"body": DOG}], Context(Path(), [REST, REST]))]
    low, high = sorted(answer["probability"] for answer in pair)
    assert high - low > 1e-3
    release = replace(ready.predictor.release, unsure={"fp32": (low + high) / 2}, uncalibrated={"fp32": CONDITIONS})
    monkeypatch.setattr(ready.predictor, "release", release)
    return ready


def answers(ready: CatsDogsHandler, rows: list[dict[str, object]], headers: list[dict[str, str]]) -> list[Any]:
    return [json.loads(body) for body in ready.handle(rows, Context(Path(), headers))]


def test_an_answer_below_the_threshold_is_unsure(choosing: CatsDogsHandler) -> None:
    pair = answers(choosing, [{"body": CAT}, {"body": DOG}], [REST | ASKED] * 2)
    low, high = sorted(pair, key=lambda answer: answer["probability"])
    assert (low["unsure"], high["unsure"]) == (True, False)


def test_it_is_said_only_where_it_is_asked_for(choosing: CatsDogsHandler) -> None:
    rows: list[dict[str, object]] = [{"body": CAT}] * 3
    plain, asked, no = answers(choosing, rows, [REST, REST | ASKED, REST | {"X-Catsdogs-Unsure": "false"}])
    assert plain.keys().isdisjoint(SAID)
    assert no.keys().isdisjoint(SAID)
    assert {key: value for key, value in asked.items() if key not in SAID} == plain


def test_it_names_the_conditions_in_which_the_probability_is_not_calibrated(
    choosing: CatsDogsHandler, monkeypatch: pytest.MonkeyPatch
) -> None:
    (answer,) = answers(choosing, [{"body": CAT}], [REST | ASKED])
    assert answer["uncalibrated_if"] == list(CONDITIONS)
    monkeypatch.setattr(choosing.predictor, "release", replace(choosing.predictor.release, uncalibrated={}))
    (unmeasured,) = answers(choosing, [{"body": CAT}], [REST | ASKED])
    assert "unsure" in unmeasured
    assert "uncalibrated_if" not in unmeasured


def test_every_answer_says_it_where_the_server_is_started_so(
    choosing: CatsDogsHandler, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choosing, "unsure", True)
    usual, no = answers(choosing, [{"body": CAT}] * 2, [{}, REST | {"X-Catsdogs-Unsure": "false"}])
    assert "unsure" in usual
    assert "unsure" not in no


def test_kserves_protocols_say_it_too(choosing: CatsDogsHandler) -> None:
    one, two = answers(choosing, [v1(CAT, DOG), v2(CAT, DOG)], [V1 | ASKED, V2 | ASKED])
    flags = [answer["unsure"] for answer in one["predictions"]]
    assert sorted(flags) == [False, True]
    assert [answer["uncalibrated_if"] for answer in one["predictions"]] == [list(CONDITIONS)] * 2
    assert two["parameters"]["unsure"] == ",".join(str(flag).lower() for flag in flags)
    assert two["parameters"]["uncalibrated_if"] == "blurred,rotated by 90 degrees"
    (plain,) = answers(choosing, [v2(CAT)], [V2])
    assert plain["parameters"].keys().isdisjoint(SAID)


def test_a_model_without_a_threshold_says_so_and_harms_no_neighbour(
    ready: CatsDogsHandler, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ready.predictor, "release", replace(ready.predictor.release, unsure={}))
    refused, answered = answers(ready, [{"body": CAT}, {"body": CAT}], [REST | ASKED, REST])
    assert refused["code"] == "bad_request"
    assert refused["detail"] == "This model has no threshold for unsure answers: leave out unsure."
    assert answered["label"] == "cat"


def test_what_is_neither_true_nor_false_is_refused() -> None:
    for text in ("yes", "True", "1", "odd"):
        with pytest.raises(Problem, match=r"unsure must be true or false\."):
            read_unsure(text, usual=False, threshold=0.9)


def test_a_worker_that_is_to_say_it_and_cannot_does_not_start(
    unpacked: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "copy"
    folder.mkdir()
    for path in unpacked.iterdir():
        if path.name != "release.json":
            (folder / path.name).symlink_to(path)
    values = json.loads((unpacked / "release.json").read_bytes())
    values.pop("unsure", None)
    (folder / "release.json").write_text(json.dumps(values))
    monkeypatch.setenv(VARIABLE, "1")
    with pytest.raises(SystemExit):
        CatsDogsHandler().initialize(Context(folder, []))
    assert "The release has no threshold for unsure answers" in capfd.readouterr().err


def test_the_shipped_release_has_a_threshold_for_each_precision(unpacked: Path) -> None:
    thresholds = read_release(unpacked).unsure
    assert set(thresholds) == {"fp32", "int8"}
    assert all(0.5 < threshold < 1 for threshold in thresholds.values())


def test_a_precision_without_a_threshold_takes_that_of_the_reference() -> None:
    assert threshold_of({"fp32": 0.8, "int8": 0.7}, "int8") == 0.7
    assert threshold_of({"fp32": 0.8, "int8": 0.7}, "fp16") == 0.8
    assert threshold_of({}, "fp32") is None


@pytest.mark.parametrize(
    "value",
    [
        [], {}, {"precisions": []}, {"precisions": {"int4": {}}}, {"precisions": {"fp32": {"threshold": 0}}},
        {"precisions": {"fp32": {"threshold": 1.1}}}, {"precisions": {"fp32": {"threshold": True}}},
        {"precisions": {"fp32": {"threshold": float("nan")}}},
    ],
)  # fmt: skip
def test_a_malformed_key_is_refused_by_one_sentence(value: Any) -> None:
    with pytest.raises(ValueError, match=r"^unsure\.precisions.* must "):
        parse_thresholds(value)


def test_a_precision_that_reaches_no_threshold_has_none() -> None:
    without_int8 = {"precisions": {"fp32": {"threshold": 0.8}, "int8": {"threshold": None}}}
    assert parse_thresholds(without_int8) == {"fp32": 0.8}
    # A worker that computes fp32 would have none, though the server offers it.
    assert parse_thresholds({"precisions": {"fp32": {"threshold": None}, "int8": {"threshold": 0.9}}}) == {}
    assert parse_thresholds(None) == {}


def test_base64_and_forms_say_it_as_bytes_do(choosing: CatsDogsHandler) -> None:
    raw, encoded = answers(choosing, [{"body": CAT}, {"body": base64.b64encode(CAT)}], [REST | ASKED] * 2)
    assert raw["unsure"] == encoded["unsure"]
