"""catsdogs canary: a candidate beside stable, from good to broken, and the exit status that promotes or rolls back."""

import json
from pathlib import Path
from typing import Any

import click.testing
import pytest
import yaml

from handler.files import UserError
from monitoring.canary.cli import canary
from monitoring.canary.promises import SLO, Promises, read_promises
from monitoring.canary.watch import Plan
from monitoring.slo_file import read
from tests.validation.test_validate import CATS, line
from tests.validation.tracks import Track, model, track

FAST = ("--duration", "1", "--interval", "1", "--min-requests", "16")
NEXT = [model("cd" * 32, "2.0.0")]


def run(stable: Track, candidate: Track, *options: str) -> click.testing.Result:
    command = ["--stable", stable.url, "--candidate", candidate.url, *FAST, *options]
    done = click.testing.CliRunner().invoke(canary, command)
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done


def slo(folder: Path, **latency: Any) -> Path:
    """Write objectives whose latency is this."""
    document = yaml.safe_load(SLO.read_text())
    document["objectives"]["latency"] = {"rest": latency}
    file = folder / "slo.yaml"
    file.write_text(yaml.safe_dump(document))
    return file


def test_a_good_candidate_is_to_be_promoted() -> None:
    with track() as stable, track(models=NEXT) as candidate:
        done = run(stable, candidate)
    assert done.exit_code == 0
    assert done.stdout.splitlines()[-1] == "PASS"
    assert "Both tracks predict the same class of 16 of 16 pictures" in line(done, "agreement")


def test_both_tracks_get_the_same_pictures_as_probes() -> None:
    with track() as stable, track() as candidate:
        run(stable, candidate)
    assert stable.marks == candidate.marks == ["1"] * 16


def test_a_candidate_that_is_mostly_wrong_is_to_be_rolled_back() -> None:
    with track() as stable, track(CATS) as candidate:
        done = run(stable, candidate)
    assert done.exit_code == 10
    assert line(done, "accuracy").startswith("BREACH")
    assert line(done, "comparison").startswith("BREACH")
    assert line(done, "agreement").startswith("BREACH")


def test_a_candidate_that_fails_where_stable_does_not_is_to_be_rolled_back() -> None:
    with track() as stable, track(statuses={CATS[0]: [500], CATS[1]: [503]}) as candidate:
        done = run(stable, candidate)
    assert done.exit_code == 10
    assert "2 of 16 pictures failed at the candidate, 0 of 16 at stable" in line(done, "errors")


def test_a_candidate_that_never_answers_is_to_be_rolled_back() -> None:
    with track() as stable, track(always=500) as candidate:
        done = run(stable, candidate)
    assert done.exit_code == 10
    assert "16 of 16 pictures failed at the candidate" in line(done, "errors")


def test_where_stable_fails_too_the_cause_is_another() -> None:
    def failing() -> dict[str, list[int]]:
        return {name: [500] for name in CATS[:3]}

    with track(statuses=failing()) as stable, track(statuses=failing()) as candidate:
        done = run(stable, candidate)
    assert done.exit_code == 12
    assert "both tracks break it" in line(done, "errors")


def test_a_slow_candidate_is_to_be_rolled_back(tmp_path: Path) -> None:
    file = slo(tmp_path, threshold="100ms", objective=0.9)
    with track() as stable, track(delay_s=0.15) as candidate:
        done = run(stable, candidate, "--slo", str(file))
    assert done.exit_code == 10
    assert "16 of 16 pictures failed or took more than 0.1 s at the candidate" in line(done, "latency")


def test_too_few_requests_are_inconclusive() -> None:
    with track() as stable, track() as candidate:
        done = run(stable, candidate, "--min-requests", "17")
    assert done.exit_code == 11
    assert "fewer than 17 show too little" in line(done, "errors")


def test_a_certain_breach_ends_the_watch_at_once() -> None:
    with track() as stable, track(CATS) as candidate:
        done = run(stable, candidate, "--duration", "600")
    assert done.exit_code == 10
    assert len(candidate.marks) == 16


def test_the_rounds_go_on_through_the_pictures() -> None:
    with track() as stable, track() as candidate:
        done = run(stable, candidate, "--duration", "3", "--per-round", "6")
    assert done.exit_code == 0
    assert len(candidate.marks) == 18
    assert "16 of 16 pictures" in line(done, "accuracy")


def test_a_track_that_changes_its_model_is_no_measure() -> None:
    with track() as stable, track(models=[*NEXT, model()]) as candidate:
        done = run(stable, candidate)
    assert done.exit_code == 12


@pytest.mark.parametrize("unready", ["stable", "candidate"])
def test_a_track_that_is_not_ready_is_not_watched(unready: str) -> None:
    questions = {unready: 1000}
    with track(unready=questions.get("stable", 0)) as stable, track(unready=questions.get("candidate", 0)) as candidate:
        assert run(stable, candidate).exit_code == 13
        assert stable.marks == candidate.marks == []


def test_the_report_holds_what_was_sent(tmp_path: Path) -> None:
    file = tmp_path / "report.json"
    with track() as stable, track() as candidate:
        run(stable, candidate, "--json", str(file))
    report = json.loads(file.read_text())
    assert (report["verdict"], report["pictures"]) == ("PASS", {"stable": 16, "candidate": 16})


def test_the_objectives_are_those_that_the_alerts_have() -> None:
    objectives, promises = read(SLO).objectives, read_promises(SLO)
    assert promises == Promises(
        {name: (latency.threshold, latency.objective) for name, latency in objectives.latency.items()},
        objectives.availability.objective,
        objectives.accuracy.objective,
    )


@pytest.mark.parametrize(
    "text",
    ["", "objectives: {}", "{", "objectives: {latency: {rest: {threshold: soon, objective: 0.9}}}", "[1]"],
)
def test_a_file_without_objectives_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "slo.yaml"
    file.write_text(text)
    with pytest.raises(UserError, match=str(file)):
        read_promises(file)


def test_looks_before_the_end_take_more_certainty() -> None:
    plan = Plan(read_promises(SLO), 600, 30, 20, 100, 0.85, None, 0.95)
    assert plan.rounds == 20
    assert plan.early_confidence == pytest.approx(0.9975)
