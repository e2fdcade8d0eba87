"""catsdogs validate: each verdict and its exit status, against servers that answer rightly, wrongly or not at all."""

import json
import shutil
from pathlib import Path
from typing import Any

import click.testing
import pytest
import yaml

from handler.files import UserError
from monitoring.validation.cli import MIN_ACCURACY, validate
from serving.client.samples import SAMPLES
from tests.validation.tracks import SHA, Track, model, track
from tests.zoo import ROOT

CATS = sorted(path.name for path in (SAMPLES / "cat").iterdir())
DOGS = sorted(path.name for path in (SAMPLES / "dog").iterdir())


@pytest.fixture
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("monitoring.validation.labelled.sleep", lambda seconds: None)


def run(url: str, *options: str) -> click.testing.Result:
    done = click.testing.CliRunner().invoke(validate, ["--url", url, *options])
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done


def line(done: click.testing.Result, name: str) -> str:
    """Return the line of a check."""
    (text,) = [text for text in done.stdout.splitlines() if f"  {name}: " in text and not text.startswith(" ")]
    return text


def record(folder: Path, **more: Any) -> Path:
    """Write recorded answers to the samples, as `catsdogs predict --json` prints them."""
    lines = []
    for path in sorted(SAMPLES.rglob("*.jpg")):
        label = path.parent.name
        shares = {"cat": 0.1, "dog": 0.1} | {label: 0.9}
        answer = {"label": label, "probability": 0.9, "probabilities": shares, "model": model(), **more}
        lines.append(json.dumps({"path": str(path), **answer}))
    file = folder / "answers.jsonl"
    file.write_text("\n".join(lines) + "\n")
    return file


def test_a_right_server_passes_and_its_model_is_named() -> None:
    with track(models=[model(precision="int8")]) as server:
        done = run(server.url)
    assert done.exit_code == 0
    assert done.stdout.splitlines()[-1] == "PASS"
    assert f"catsdogs 1.0.0 int8 (sha256 {SHA[:12]})" in line(done, "model")
    assert "16 of 16 pictures are right: an accuracy of at least 0.855" in line(done, "accuracy")


def test_every_request_is_marked_as_a_probe() -> None:
    with track() as server:
        run(server.url)
    assert server.marks == ["1"] * 16


def test_the_default_floor_is_the_objective_of_the_slo_file() -> None:
    slo = yaml.safe_load((ROOT / "loadtest" / "slo.yaml").read_text())
    assert slo["objectives"]["accuracy"]["objective"] == MIN_ACCURACY


def test_a_server_that_is_shown_to_be_below_the_floor_is_a_breach() -> None:
    with track(CATS) as server:
        done = run(server.url)
    assert done.exit_code == 10
    assert "8 of 16 pictures are right" in line(done, "accuracy")
    assert "cat/11.jpg" in line(done, "accuracy")
    assert "              cat: 0 of 8 right" in done.stdout.splitlines()


def test_too_few_pictures_are_inconclusive_and_the_number_that_would_do_is_told() -> None:
    with track(CATS[:1]) as server:
        done = run(server.url)
    assert done.exit_code == 11
    assert "At this accuracy 46 pictures would show the floor to be kept" in line(done, "accuracy")


@pytest.mark.usefixtures("_no_pause")
def test_an_answer_that_comes_at_a_later_attempt_counts() -> None:
    with track(statuses={CATS[0]: [503, 504, 503]}) as server:
        assert run(server.url).exit_code == 0
    assert len(server.marks) == 19


@pytest.mark.usefixtures("_no_pause")
def test_an_overloaded_server_cannot_be_measured() -> None:
    with track(always=503) as server:
        done = run(server.url)
    assert done.exit_code == 12
    assert "16 of 16 pictures got no prediction" in line(done, "answers")
    # Those of the first connections are sent four times, the others once.
    assert len(server.marks) < 16 * 4


@pytest.mark.parametrize(("status", "code"), [(500, 10), (415, 12)])
def test_an_error_is_the_servers_and_a_refusal_is_the_pictures(status: int, code: int) -> None:
    with track(statuses={CATS[0]: [status]}) as server:
        done = run(server.url)
    assert done.exit_code == code
    assert f"It is {status}." in line(done, "answers")


def test_answers_of_two_models_are_invalid() -> None:
    with track(models=[model("cd" * 32, "2.0.0"), model()]) as server:
        done = run(server.url)
    assert done.exit_code == 12
    assert "wait until its rollout is over" in line(done, "model")


def test_a_server_that_is_not_ready_in_time_has_a_status_of_its_own() -> None:
    with track(unready=1000) as server:
        done = run(server.url)
    assert done.exit_code == 13


@pytest.mark.parametrize("status", [401, 404])
def test_a_wrong_key_or_address_is_wrong_usage(status: int) -> None:
    with track(always=status) as server, pytest.raises(UserError, match=f"answers {status}"):
        run(server.url)


def test_pictures_of_other_classes_are_wrong_usage(tmp_path: Path) -> None:
    (tmp_path / "bird").mkdir()
    shutil.copy(SAMPLES / "cat" / CATS[0], tmp_path / "bird" / "1.jpg")
    with track() as server, pytest.raises(UserError, match="folders named bird"):
        run(server.url, "--pictures", str(tmp_path))


def test_the_recorded_answers_are_those_of_the_server(tmp_path: Path) -> None:
    with track() as server:
        done = run(server.url, "--recorded", str(record(tmp_path)))
    assert done.exit_code == 0
    assert "16 answers are the recorded ones" in line(done, "recorded")


@pytest.mark.parametrize(
    ("behaviour", "sentence"),
    [
        ({"probability": 0.8}, "16 of 16 answers differ"),
        ({"mistaken": CATS[:1]}, "cat/11.jpg: dog 0.9000, recorded cat 0.9000"),
        ({"models": [model("cd" * 32)]}, "the recorded answers are of catsdogs 1.0.0"),
    ],
    ids=["a probability", "a label", "another model"],
)
def test_another_answer_than_the_recorded_one_is_a_breach(tmp_path: Path, behaviour: Any, sentence: str) -> None:
    with track(**behaviour) as server:
        done = run(server.url, "--min-accuracy", "0.5", "--recorded", str(record(tmp_path)))
    assert done.exit_code == 10
    assert sentence in line(done, "recorded")


def test_a_probability_may_differ_by_so_much(tmp_path: Path) -> None:
    with track(probability=0.8) as server:
        assert run(server.url, "--recorded", str(record(tmp_path)), "--max-difference", "0.11").exit_code == 0


def test_answers_that_were_recorded_in_another_precision_are_no_measure(tmp_path: Path) -> None:
    with track(models=[model(precision="int8")]) as server:
        done = run(server.url, "--recorded", str(record(tmp_path, model=model(precision="fp32"))))
    assert done.exit_code == 12
    assert "computes in int8" in line(done, "recorded")


def test_a_picture_without_a_recorded_answer_is_invalid(tmp_path: Path) -> None:
    file = record(tmp_path)
    file.write_text("\n".join(file.read_text().splitlines()[1:]))
    with track() as server:
        done = run(server.url, "--recorded", str(file))
    assert done.exit_code == 12
    assert "1 of 16 pictures have no recorded answer" in line(done, "recorded")


@pytest.mark.parametrize("text", ["", "{}\n", '{"path": "cat/1.jpg", "error": "no"}\n', "\udcff", "[]"])
def test_a_file_that_holds_no_predictions_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "answers.jsonl"
    file.write_bytes(text.encode(errors="surrogateescape"))
    with track() as server, pytest.raises(UserError):
        run(server.url, "--recorded", str(file))


def compared(stable: Track, candidate: Track, *options: str) -> click.testing.Result:
    return run(candidate.url, "--stable", stable.url, "--min-accuracy", "0.3", *options)


def test_a_candidate_that_is_worse_than_stable_is_a_breach() -> None:
    with track() as stable, track(CATS[:6]) as candidate:
        done = compared(stable, candidate)
    assert done.exit_code == 10
    assert "6 of 16 pictures are right by stable alone, 0 by the candidate alone (McNemar p = 0.031)" in done.stdout


def test_a_candidate_that_is_better_or_hardly_worse_passes() -> None:
    with track(CATS[:6]) as stable, track() as better, track([*CATS[:6], *DOGS[:2]]) as hardly:
        assert compared(stable, better).exit_code == 0
        assert compared(stable, hardly).exit_code == 0


def test_with_a_margin_few_pictures_are_inconclusive() -> None:
    with track() as stable, track() as candidate:
        done = compared(stable, candidate, "--max-loss", "0.01")
        assert done.exit_code == 11
        assert "loses more than 1 points" in line(done, "comparison")
        assert compared(stable, candidate, "--max-loss", "0.3").exit_code == 0


def test_a_stable_track_that_fails_says_nothing_about_the_candidate() -> None:
    with track(always=500) as stable, track() as candidate:
        done = compared(stable, candidate)
    assert done.exit_code == 12
    assert "got no prediction" in line(done, "stable")


@pytest.mark.parametrize(("probability", "holds"), [(0.94, True), (0.9999, False), (0.55, False)])
def test_the_estimate_without_labels_is_flagged_where_the_model_is_not_calibrated(
    tmp_path: Path, probability: float, holds: bool
) -> None:
    report = tmp_path / "report.json"
    with track(CATS[:1], probability=probability) as server:
        done = run(server.url, "--min-accuracy", "0.5", "--json", str(report))
    assert done.exit_code == 0
    assert json.loads(report.read_text())["calibration_holds"] is holds
    assert ("The calibration does not hold" in done.stdout) is not holds


def test_the_report_holds_the_verdict_the_checks_and_the_wrong_pictures(tmp_path: Path) -> None:
    file = tmp_path / "report.json"
    with track(CATS[:1]) as server:
        run(server.url, "--json", str(file))
    report = json.loads(file.read_text())
    assert (report["verdict"], report["exit_code"]) == ("INCONCLUSIVE", 11)
    assert report["model"] == {**model(), "precision": None}
    assert {check["name"]: check["verdict"] for check in report["checks"]} == {
        "answers": "PASS",
        "model": "PASS",
        "accuracy": "INCONCLUSIVE",
    }
    assert report["by_class"]["cat"] == {"right": 7, "count": 8}
    assert [wrong["predicted"] for wrong in report["wrong"]] == ["dog"]


@pytest.mark.parametrize(
    "options",
    [("--recorded", "a", "--model", "b"), ("--max-loss", "0.1"), ("--ca", "a", "--no-verify")],
    ids=" ".join,
)
def test_options_that_contradict_each_other_are_refused(options: tuple[str, ...]) -> None:
    with pytest.raises(UserError):
        run("http://127.0.0.1:1", *options)
