"""Exact bounds. Figures of scipy 1.17: binomtest(k, n).proportion_ci(0.90, method="exact")."""

import random

import pytest

from common.binomial import (
    cdf,
    design_effect,
    lower_bound,
    max_failures_allowed,
    min_sample_size,
    provable_objective,
    upper_bound,
)


@pytest.mark.parametrize(
    ("bad", "count", "low", "high"),
    [(3, 200, 0.0041006, 0.0383097), (1, 1200, 0.0000427, 0.0039469), (50, 1000, 0.0391635, 0.0628634)],
)
def test_the_bounds_are_those_of_clopper_and_pearson(bad: int, count: int, low: float, high: float) -> None:
    assert lower_bound(bad, count, 0.95) == pytest.approx(low, abs=1e-6)
    assert upper_bound(bad, count, 0.95) == pytest.approx(high, abs=1e-6)


def test_none_and_all_have_bounds_too() -> None:
    assert lower_bound(0, 100, 0.95) == 0
    assert upper_bound(100, 100, 0.95) == 1
    assert upper_bound(0, 100, 0.95) == pytest.approx(1 - 0.05 ** (1 / 100))


@pytest.mark.parametrize(("objective", "count"), [(0.95, 59), (0.99, 299), (0.999, 2995)])
def test_so_many_good_requests_show_an_objective_and_one_less_does_not(objective: float, count: int) -> None:
    assert min_sample_size(objective, 0.95) == count
    assert upper_bound(0, count, 0.95) <= 1 - objective < upper_bound(0, count - 1, 0.95)


@pytest.mark.parametrize(("bad", "count"), [(0, 299), (1, 473), (3, 773), (5, 1049), (10, 1693), (20, 2902)])
def test_bad_ones_take_more_requests(bad: int, count: int) -> None:
    assert upper_bound(bad, count, 0.95) <= 0.01 < upper_bound(bad, count - 1, 0.95)


def test_a_sample_shows_what_it_would_with_one_bad_request() -> None:
    assert provable_objective(1200, 0.95) == pytest.approx(1 - upper_bound(1, 1200, 0.95))


def test_one_more_than_allowed_is_a_breach() -> None:
    most = max_failures_allowed(2000, 0.99, 0.95)
    assert lower_bound(most, 2000, 0.95) <= 0.01 < lower_bound(most + 1, 2000, 0.95)


def test_probabilities_of_thousands_do_not_overflow() -> None:
    assert cdf(50_000, 100_000, 0.5) == pytest.approx(0.5, abs=0.01)


def test_independent_requests_are_worth_what_they_are() -> None:
    rng = random.Random(1)
    bad = [sum(rng.random() < 0.05 for _ in range(50)) for _ in range(400)]
    assert design_effect([50] * 400, bad) == pytest.approx(1, abs=0.2)


def test_bad_ones_that_come_together_are_worth_less() -> None:
    # 4 of 400 seconds are bad as a whole: 200 requests tell no more than 4 do.
    assert design_effect([50] * 400, [50] * 4 + [0] * 396) == pytest.approx(50, rel=0.02)


def test_an_upper_bound_holds_as_often_as_it_says() -> None:
    rng, held = random.Random(2), 0
    for _ in range(400):
        bad = sum(rng.random() < 0.02 for _ in range(300))
        held += upper_bound(bad, 300, 0.9) >= 0.02
    assert held / 400 >= 0.87  # 90 %, and three standard errors
