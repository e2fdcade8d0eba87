"""slo.yaml, ours and wrong ones."""

from pathlib import Path

import pytest
import yaml

from common.binomial import min_sample_size
from handler.files import UserError
from loadtest import slo
from loadtest.defaults import SLO
from monitoring.objectives import EDGES_S


def written(folder: Path, change: str, value: object) -> Path:
    """Write the shipped slo.yaml with one value changed."""
    values = yaml.safe_load(SLO.read_text())
    *way, last = change.split(".")
    place = values
    for key in way:
        place = place[key]
    place[last] = value
    path = folder / "slo.yaml"
    path.write_text(yaml.safe_dump(values))
    return path


def test_ours_can_decide() -> None:
    ours = slo.load()
    assert ours.gates["full"].asserts == "whole"
    assert ours.gates["full"].expected() >= min_sample_size(ours.objectives.availability.objective, 0.95)
    assert ours.gates["quick"].warmup + ours.gates["quick"].duration < 170  # `make load` in under 3 minutes


def test_99_percent_within_250_ms_and_on_shared_machines_within_a_second() -> None:
    assert {(each.threshold, each.objective) for each in slo.load().objectives.latency.values()} == {(0.25, 0.99)}
    shared = slo.load(profile="shared").objectives
    assert {(each.threshold, each.objective) for each in shared.latency.values()} == {(1.0, 0.99)}
    assert shared.availability == slo.load().objectives.availability


def test_a_profile_keeps_the_objectives_of_protocols_that_it_does_not_name(tmp_path: Path) -> None:
    latency = {"grpc": {"threshold": "10ms", "objective": 0.9}}
    path = written(tmp_path, "profiles", {"quick": {"latency": latency}})
    chosen = slo.load(path, "quick").objectives.latency
    assert (chosen["grpc"].threshold, chosen["rest"].threshold) == (0.01, 0.25)


def test_a_profile_s_objectives_must_be_decidable_too(tmp_path: Path) -> None:
    path = written(tmp_path, "profiles.shared.latency.rest.objective", 0.99999)
    assert slo.load(path)
    with pytest.raises(UserError, match="to assert the objectives at 95% confidence takes 299572"):
        slo.load(path, "shared")


def test_a_profile_that_is_not_there_is_said_and_those_that_are() -> None:
    with pytest.raises(UserError, match=r"slo\.yaml has no profile quick; it has shared\."):
        slo.load(profile="quick")


@pytest.mark.parametrize("text", ["100ms", "0.1s", "0.1"])
def test_p99_is_the_only_objective_that_binds(text: str) -> None:
    objectives = slo.p99_within(text, slo.load().objectives)
    assert {(each.threshold, each.objective) for each in objectives.latency.values()} == {(0.1, 0.99)}
    assert objectives.availability.objective == 0.99


def test_p99_may_lie_beside_the_edges_of_the_histogram() -> None:
    assert slo.p99_within("15ms", slo.load().objectives).latency["rest"].threshold == 0.015


@pytest.mark.parametrize(
    ("text", "sentence"), [("soon", "--p99: 'soon' is not a duration"), ("0s", "--p99 must be more")]
)
def test_a_p99_that_is_none_is_refused(text: str, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        slo.p99_within(text, slo.load().objectives)


@pytest.mark.parametrize(
    ("change", "value", "sentence"),
    [
        ("objectives.latency.rest.threshold", "300ms", "0.3 s is not an edge of the gateway's histogram"),
        ("objectives.latency.rest.objective", 1, "objectives.latency.rest.objective"),
        ("gates.quick.protocols", ["http"], "gates.quick.protocols.0"),
        ("gates.quick.duratoin", "2m", "Did you mean gates.quick.duration?"),
        ("gates.quick.duration", "soon", "'soon' is not a duration: write 250ms, 90s, 3m or 1h"),
        ("gates.full.duration", "1m", "to assert the objectives at 95% confidence takes 2995"),
        ("gates.full.rate", 0, "gates.full.rate"),
        ("gates.quick.duration", "10s", "to assert the least of 0.99 at 95% confidence takes 299"),
        (
            "objectives.latency",
            {"grpc": {"threshold": 1, "objective": 0.9}},
            "tests rest, which has no entry in objectives.latency",
        ),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, change: str, value: object, sentence: str) -> None:
    with pytest.raises(UserError, match=r"slo\.yaml") as refusal:
        slo.load(written(tmp_path, change, value))
    assert sentence in str(refusal.value)


@pytest.mark.parametrize(
    ("objective", "least"), [(0.9999, 0.999), (0.999, 0.99), (0.99, 0.9), (0.95, 0.9), (0.9, 0.9), (0.85, 0.85)]
)
def test_a_sample_may_assert_no_less_than_ten_times_the_failures_and_one_request_in_ten(
    objective: float, least: float
) -> None:
    assert slo.weakest(objective) == pytest.approx(least)


@pytest.mark.parametrize("text", ["service: [", "just text", "- 1\n- 2\n"])
def test_a_file_of_something_else_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "slo.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=r"slo\.yaml"):
        slo.load(path)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"Cannot read .*none\.yaml"):
        slo.load(tmp_path / "none.yaml")


def test_a_threshold_is_on_an_edge_of_the_gateway_s_histogram() -> None:
    # Caddy's default, which the Caddyfile leaves alone; tests/loadtest/test_server.py sees them on the real one.
    assert all(latency.threshold in EDGES_S for latency in slo.load().objectives.latency.values())
