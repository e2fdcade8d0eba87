"""Histograms as curves over nines."""

import pytest

from loadtest.judge.percentiles import curve, nines, ticks
from tests.loadtest.support import quantiles


def at(places: list[float], seconds: list[float], share: float) -> float:
    """The latency within which that share was answered, by the curve."""
    return [value for place, value in zip(places, seconds, strict=True) if place <= nines(share)][-1]


def test_the_curve_has_the_histograms_quantiles() -> None:
    measured = quantiles([number / 1000 for number in range(1, 1001)])
    assert measured is not None
    places, seconds = curve(measured, 1000)
    assert at(places, seconds, 0.5) == pytest.approx(measured.p50, rel=0.01)
    assert at(places, seconds, 0.99) == pytest.approx(measured.p99, rel=0.01)
    assert seconds[-1] == pytest.approx(measured.max, rel=0.002)


def test_both_rise() -> None:
    measured = quantiles([0.1, 0.02, 0.3, 0.02])
    assert measured is not None
    places, seconds = curve(measured, 4)
    assert places == sorted(places)
    assert seconds == sorted(seconds)


def test_a_curve_ends_where_the_unanswered_begin() -> None:
    measured = quantiles([0.1] * 90)
    assert measured is not None
    assert curve(measured, 100)[0][-1] == pytest.approx(nines(0.9))


def test_one_answer_is_a_curve() -> None:
    measured = quantiles([0.1])
    assert measured is not None
    places, seconds = curve(measured, 1)
    assert places == [0.0]
    assert seconds == pytest.approx([0.1], rel=0.001)


def test_the_ticks_are_a_half_and_the_nines() -> None:
    places, labels = ticks(3.3)
    assert labels[:5] == ["50 %", "90 %", "99 %", "99.9 %", "99.99 %"]
    assert places[1:] == pytest.approx([1, 2, 3, 4])
