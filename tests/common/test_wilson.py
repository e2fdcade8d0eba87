"""Wilson's bounds. The values are those of scipy 1.17: binomtest(k, n).proportion_ci(method="wilson")."""

import pytest

from common.wilson import trials_needed, wilson_bounds


@pytest.mark.parametrize(
    ("successes", "count", "low", "high"),
    [
        (0, 16, 0.0000000000, 0.1446385913),
        (16, 16, 0.8553614087, 1.0000000000),
        (15, 16, 0.7625102862, 0.9859309464),
        (394, 400, 0.9712591076, 0.9922240286),
        (1, 3, 0.0782657263, 0.7464661317),
        (2833, 2907, 0.9692799036, 0.9789260089),
    ],
)
def test_the_bounds_are_those_of_scipy(successes: int, count: int, low: float, high: float) -> None:
    """Two-sided at 90 % is one-sided at 95 %."""
    assert wilson_bounds(successes, count, 0.95) == pytest.approx((low, high), abs=1e-9)


@pytest.mark.parametrize(("share", "floor"), [(1.0, 0.85), (0.95, 0.9), (0.98, 0.97)])
def test_so_many_trials_show_the_floor_and_fewer_do_not(share: float, floor: float) -> None:
    needed = trials_needed(share, floor, 0.95)
    assert needed is not None
    # With shares that are whole numbers of successes only roughly, so the bound is asked for twice and half as many.
    assert wilson_bounds(round(2 * needed * share), 2 * needed, 0.95)[0] >= floor
    assert wilson_bounds(round(needed / 2 * share), round(needed / 2), 0.95)[0] < floor


def test_no_number_shows_a_floor_that_is_not_reached() -> None:
    assert trials_needed(0.9, 0.9, 0.95) is None
    assert trials_needed(0.85, 0.9, 0.95) is None
