"""Numbers and verdicts as people read them."""

import math

import pytest

from loadtest.report import words


@pytest.mark.parametrize(
    ("share", "text"),
    [(0.999, "99.9"), (0.99, "99"), (0.99723, "99.72"), (0.00034, "0.034"), (0, "0"), (1, "100"), (0.123, "12")],
)
def test_a_share_has_the_digits_that_tell_it_from_all_and_nothing(share: float, text: str) -> None:
    assert words.percent(share) == f"{text}\u00a0%"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0008, "0.8\u00a0ms"),
        (0.0425, "42.5\u00a0ms"),
        (0.9999, "1\u00a0s"),
        (12.34, "12.3\u00a0s"),
        (720, "12\u00a0min"),
    ],
)
def test_a_duration_has_three_digits(seconds: float, text: str) -> None:
    assert words.duration(seconds) == text


@pytest.mark.parametrize("nothing", [None, math.nan, math.inf])
def test_what_was_not_measured_is_a_dash(nothing: float | None) -> None:
    assert words.duration(nothing) == words.percent(nothing) == words.rate(nothing) == "\u2013"


def test_a_unit_stays_on_the_line_of_its_number() -> None:
    text = words.unbroken("9 of 10 were answered within 250 ms; the objective of 99 % takes 20 min.")
    assert text == "9 of 10 were answered within 250\u00a0ms; the objective of 99\u00a0% takes 20\u00a0min."
