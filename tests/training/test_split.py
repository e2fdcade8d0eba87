"""The side of a group by its name alone."""

import hashlib

import pytest

from training.data.split import SPLITS, choose_split


def test_many_groups_fall_on_the_sides_in_the_ratios_asked_for() -> None:
    names = [hashlib.sha256(str(number).encode()).hexdigest()[:16] for number in range(20_000)]
    chosen = [choose_split(name, (80, 10, 10)) for name in names]
    # Four standard deviations of a binomial of 20,000.
    assert chosen.count("train") == pytest.approx(16_000, abs=226)
    assert chosen.count("val") == pytest.approx(2_000, abs=170)
    assert chosen.count("test") == pytest.approx(2_000, abs=170)


@pytest.mark.parametrize("side", [0, 1, 2])
def test_a_ratio_of_all_puts_everything_on_one_side(side: int) -> None:
    ratios = (int(side == 0), int(side == 1), int(side == 2))
    assert {choose_split(f"{number:016x}", ratios) for number in range(100)} == {SPLITS[side]}
