"""Quiet days raise no alert, and days that are not quiet do: stored in a real Prometheus, evaluated by the rules."""

import os
import re
from pathlib import Path
from typing import Any

import pytest

from monitoring.objectives import Objectives
from monitoring.rules.files import rule_file
from monitoring.rules.model import Target
from monitoring.slo_file import read
from tests.monitoring.blocks import add, record, stored
from tests.monitoring.firing import Firing, all_fired
from tests.monitoring.quiet import EVERY_S, Deviation, Simulation
from tests.monitoring.support import needs_prometheus
from tests.zoo import ROOT

pytestmark = needs_prometheus
HOUR_S = 3600
# A Monday, at midnight.
BEGIN = 1_790_553_600
# `make quiet-week` takes seven.
DAYS = float(os.environ.get("CATSDOGS_QUIET_DAYS", "1"))
SELECTED = re.compile(r"\b(catsdogs_\w+|up)\{")
FAILING = Deviation(10 * HOUR_S, 11 * HOUR_S, failed=0.02)
SLOW = Deviation(11 * HOUR_S, 11 * HOUR_S + 300, late=0.6)
MISSING = Deviation(2 * HOUR_S, 2 * HOUR_S + 600, workers=1)
DARK = Deviation(8 * HOUR_S, 12 * HOUR_S, dark=True)


def objectives() -> Objectives:
    """Return the objectives of a server on cores of its own, of one protocol."""
    stated = read(ROOT / "loadtest" / "slo.yaml").objectives
    return stated.model_copy(update={"latency": {"rest": stated.latency["rest"]}})


def rules() -> dict[str, Any]:
    return rule_file(Target("catsdogs"), objectives())


def recorded() -> list[dict[str, Any]]:
    """Return the groups of recorded series that alerts select."""
    groups = [group for group in rules()["groups"] if "-meta-" not in group["name"]]
    for group in groups:
        group["rules"] = [rule for rule in group["rules"] if not rule.get("record", "").endswith("30d")]
    return [group for group in groups if any("record" in rule for rule in group["rules"])]


def alerts(folder: Path, simulation: Simulation) -> list[Firing]:
    """Return the alerts that fire over the time of a simulation."""
    fast, slow = simulation.series()
    begin = BEGIN + simulation.first_s
    end = begin + round(simulation.hours * HOUR_S) - EVERY_S
    add(folder, fast, begin, EVERY_S)
    add(folder, slow, begin, 4 * EVERY_S)
    record(folder, recorded(), begin, end)
    with stored(folder) as prometheus:
        return all_fired(prometheus, rules(), begin, end)


def test_quiet_days_raise_no_alert(tmp_path: Path) -> None:
    assert alerts(tmp_path, Simulation(24 * DAYS, objectives())) == []


def names(found: list[Firing]) -> set[str]:
    return {f"{one.severity} {one.alert}" for one in found}


@pytest.mark.parametrize(
    ("deviation", "hours", "expected"),
    [
        pytest.param(
            FAILING,
            2.5,
            {"ticket CatsdogsAvailabilityBudgetBurn", "page CatsdogsAvailabilityBudgetBurn"},
            id="2 % of the requests fail for an hour",
        ),
        pytest.param(SLOW, 1.5, {"page CatsdogsRequestsSlow"}, id="most requests are slow for five minutes"),
        pytest.param(
            MISSING,
            1.5,
            {"ticket CatsdogsWorkersMissing"},
            id="a worker is missing for ten minutes",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            DARK, 5, {"ticket CatsdogsInputDrift"}, id="the pictures are dark for four hours", marks=pytest.mark.slow
        ),
    ],
)
def test_a_deviation_raises_its_alerts(deviation: Deviation, hours: float, expected: set[str], tmp_path: Path) -> None:
    begin_s = deviation.begin_s - HOUR_S
    found = alerts(tmp_path, Simulation(hours, objectives(), [deviation], begin_s))
    assert names(found) >= expected
    # A page brings tickets of the budget with it; what makes a ticket alone wakes nobody up.
    assert any(one.severity == "page" for one in found) == any(name.startswith("page ") for name in expected)
    assert all(one.begin >= BEGIN + deviation.begin_s for one in found)


def test_what_the_alerts_select_is_simulated() -> None:
    """An alert whose series are not there would be quiet for another reason."""
    fast, slow = Simulation(0.25, objectives()).series()
    simulated = {name.partition("{")[0] for name in (*fast, *slow)}
    selected = {
        name for group in rules()["groups"] for rule in group["rules"] for name in SELECTED.findall(rule["expr"])
    }
    assert len(selected) > 15
    assert selected - simulated == set()
