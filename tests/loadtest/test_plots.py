"""The plots, as SVG."""

import re
from xml.etree import ElementTree

import pytest

from loadtest.judge.summary import Summary
from loadtest.report.plots import MOST_POINTS, draw_percentiles, draw_times, filled, grouped, share_of
from tests.loadtest.support import build


@pytest.fixture(scope="module")
def summary() -> Summary:
    return build(failing=0.002)


@pytest.fixture(scope="module")
def percentiles(summary: Summary) -> str:
    row = next(row for row in summary.rows if row.stage == "all")
    return draw_percentiles(row, summary.findings[0], "p0")


@pytest.fixture(scope="module")
def times(summary: Summary) -> str:
    return draw_times(summary, "rest", 0.25, "t0")


def texts(svg: str) -> list[str]:
    return [text.text or "" for text in ElementTree.fromstring(svg).iter("text")]


def test_the_percentiles_axis_is_in_nines(percentiles: str) -> None:
    assert {"50 %", "90 %", "99 %"} <= set(texts(percentiles))


def test_the_threshold_and_the_objective_are_named(percentiles: str) -> None:
    assert {"250\u00a0ms", "breach, up to 99\u00a0% "} <= set(texts(percentiles))


def test_the_stages_are_named(times: str) -> None:
    assert {"warm-up", "step 1", "step 2", "step 3", "step 4", "step 5"} <= set(texts(times))


def test_seconds_with_failures_are_marked(summary: Summary, times: str) -> None:
    good = [second.model_copy(update={"failed": 0}) for second in summary.seconds]
    without = draw_times(summary.model_copy(update={"seconds": good}), "rest", 0.25, "t0")
    assert "0 requests failed" in without
    assert times.count("<use") > without.count("<use")


def test_it_has_the_pages_colours_and_font_and_no_style_for_the_rest_of_it(percentiles: str, times: str) -> None:
    for svg in (percentiles, times):
        assert re.findall("#[0-9a-f]{6}", svg) == []
        assert {"var(--accent)", "var(--second)", "var(--wrong)"} <= set(re.findall(r"var\(--\w+\)", svg))
        assert "font-family" not in svg
        assert "<style" not in svg


def test_it_says_nothing_of_when_and_by_what_it_was_drawn(times: str) -> None:
    assert "matplotlib" not in times.replace('id="t0-matplotlib.axis', "")
    assert "date" not in times


def test_it_is_the_same_each_time(summary: Summary, times: str) -> None:
    assert draw_times(summary, "rest", 0.25, "t0") == times


def test_a_long_test_is_drawn_in_no_more_points(summary: Summary) -> None:
    seconds = [second.model_copy(update={"time": float(n)}) for n, second in enumerate(summary.seconds[:100] * 36)]
    spans = grouped(seconds)
    assert len(spans) <= MOST_POINTS
    assert [second for span in spans for second in span] == seconds


def test_seconds_in_which_nothing_was_due_are_empty_and_not_left_out(summary: Summary) -> None:
    rest = [second for second in summary.seconds if second.name == "rest"]
    points = filled([rest[3], rest[6]])
    assert [(second.time, second.due) for second in points] == [(3, rest[3].due), (4, 0), (5, 0), (6, rest[6].due)]
    assert points[1].p99 is None
    assert filled([]) == []


def test_the_plans_rate_is_shared_out_as_the_rows_say(summary: Summary) -> None:
    assert share_of(summary, "rest") == pytest.approx(0.5)
    rows = [row.model_copy(update={"asked_rate": row.asked_rate * 0.8}) for row in summary.rows]
    assert share_of(summary.model_copy(update={"rows": rows}), "rest") == pytest.approx(0.4)
