"""capacity.json and capacity.html."""

import json
import math
from pathlib import Path

import pytest

from loadtest.capacity.report import draw, write
from loadtest.capacity.trial import Capacity, Trial
from tests.loadtest.test_report import Reader

# What breached is shaded faintly.
BEYOND = "fill: var(--wrong); opacity: 0.1"


def trial(rate: float, p99: float, verdict: str = "PASS", confirm: bool = False) -> Trial:
    return Trial(rate, rate, p99 / 3, p99, 0.0, 0.0, int(20 * rate), verdict, "confirm" if confirm else "search")


FOUND = Capacity(
    protocol="rest",
    threshold=0.25,
    objective=0.99,
    availability=0.999,
    confirmed=76,
    lowest_breached=80,
    trials=(trial(40, 0.07), trial(80, 0.31, "BREACH"), trial(76, 0.21), trial(76, 0.22, confirm=True)),
    sentence="rest keeps 99 % within 250 ms up to 76/s & no longer at 80/s.",
)
NOTHING = Capacity(
    "grpc",
    0.1,
    0.99,
    0.999,
    None,
    5,
    (Trial(5, 0, math.nan, math.nan, 1.0, 1.0, 100, "BREACH", "search"),),
    "grpc has none.",
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("capacity")
    write([FOUND, NOTHING], made)
    return made


def test_the_json_has_every_trial(folder: Path) -> None:
    values = json.loads((folder / "capacity.json").read_text())
    first, second = values["capacities"]
    assert (first["confirmed"], first["lowest_breached"]) == (76, 80)
    assert [(one["rate"], one["kind"]) for one in first["trials"]][-2:] == [(76, "search"), (76, "confirm")]
    assert second["confirmed"] is None
    assert second["trials"][0]["p99"] is None


def test_the_page_says_what_was_found_and_loads_nothing(folder: Path) -> None:
    page = (folder / "capacity.html").read_text()
    read = Reader(page)
    assert FOUND.sentence in read.text
    assert "not found" in read.text
    assert [load for load in read.loads if load[0] != "use"] == []
    assert "http" not in page


def test_the_plot_names_what_was_confirmed_and_the_threshold() -> None:
    plot = draw(FOUND, "c")
    assert "confirmed: 76/s" in plot
    assert ">250\u00a0ms<" in plot


def test_a_search_that_never_breached_has_no_upper_end() -> None:
    open_end = Capacity("rest", 0.25, 0.99, 0.999, 80, None, (trial(40, 0.05), trial(80, 0.06)), "At least 80/s.")
    breached = Capacity("rest", 0.25, 0.99, 0.999, 40, 80, (trial(40, 0.05), trial(80, 0.3)), "Up to 40/s.")
    assert draw(breached, "c").count(BEYOND) == 1
    assert draw(open_end, "c").count(BEYOND) == 0


def test_the_plot_is_the_same_each_time() -> None:
    assert draw(FOUND, "c") == draw(FOUND, "c")
