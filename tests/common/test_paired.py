"""Two classifiers on the same pictures: McNemar's exact test, and Tango's interval of the difference.

The p-values are those of scipy 1.17: binomtest(k, n).pvalue. The coverage of the interval is computed exactly.
"""

import math

import pytest

from common.paired import accuracy_difference, mcnemar_p_value


@pytest.mark.parametrize(
    ("only_first", "only_second", "p"),
    [(0, 0, 1.0), (5, 5, 1.0), (0, 5, 0.0625), (12, 3, 0.03515625), (3, 12, 0.03515625), (40, 60, 0.0568879)],
)
def test_the_p_values_are_those_of_the_exact_binomial_test(only_first: int, only_second: int, p: float) -> None:
    assert mcnemar_p_value(only_first, only_second) == pytest.approx(p, abs=1e-7)


def test_thousands_of_discordant_pairs_do_not_overflow() -> None:
    assert mcnemar_p_value(5000, 5001) == pytest.approx(1, abs=0.01)
    assert mcnemar_p_value(3000, 5000) < 1e-100


@pytest.mark.parametrize(("only_first", "only_second"), [(0, 0), (5, 5), (0, 5), (3, 12), (40, 60), (300, 260)])
def test_scipy_agrees_where_it_is_installed(only_first: int, only_second: int) -> None:
    stats = pytest.importorskip("scipy.stats")
    expected = stats.binomtest(only_first, only_first + only_second).pvalue if only_first + only_second else 1.0
    assert mcnemar_p_value(only_first, only_second) == pytest.approx(expected, rel=1e-9)


def multinomial(counts: tuple[int, int, int], shares: tuple[float, float, float]) -> float:
    """Return the probability of these counts."""
    ways = math.factorial(sum(counts)) // math.prod(math.factorial(count) for count in counts)
    return ways * math.prod(share**count for share, count in zip(shares, counts, strict=True))


@pytest.mark.parametrize(("only_old", "only_new"), [(0.1, 0.1), (0.2, 0.05), (0.05, 0.02), (0.02, 0.3)])
def test_the_interval_covers_the_true_difference_95_times_of_100(only_old: float, only_new: float) -> None:
    count, covered = 30, 0.0
    for old in range(count + 1):
        for new in range(count + 1 - old):
            difference = accuracy_difference(old, new, count)
            if difference.low <= only_new - only_old <= difference.high:
                covered += multinomial((old, new, count - old - new), (only_old, only_new, 1 - only_old - only_new))
    assert 0.93 < covered < 0.99


@pytest.mark.parametrize(("only_old", "only_new", "count"), [(3, 8, 40), (0, 0, 10), (0, 5, 5), (7, 0, 100)])
def test_the_interval_of_the_swapped_classifiers_is_the_negative_one(only_old: int, only_new: int, count: int) -> None:
    difference, swapped = accuracy_difference(only_old, only_new, count), accuracy_difference(only_new, only_old, count)
    assert (difference.low, difference.high) == pytest.approx((-swapped.high, -swapped.low), abs=1e-6)
    assert difference.low <= difference.estimate <= difference.high
