"""Numbers and verdicts as people read them."""

import math

import pytest

from common.verdicts import Verdict
from loadtest.report import words
from tests.loadtest.support import build


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


def test_the_headline_says_how_sure_it_is() -> None:
    assert words.headline(build(verdict=Verdict.PASS)) == "The service level was kept, with 95\u00a0% confidence."


def test_a_headline_on_a_small_sample_does_not_claim_the_objective() -> None:
    assert "As far as so few requests can show" in words.headline(build(sample=True, failing=0, verdict=Verdict.PASS))
