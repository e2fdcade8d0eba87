"""Tests of what `make soak` calls growth."""

import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.soak.judge import BOUNDS, Finding, judge
from tests.soak.measure import weigh, weigh_removed

SECONDS = [2.0 * number for number in range(300)]


def memory(value: Callable[[float], float]) -> Finding:
    """Judge the memory of a process that takes 100 MiB, and `value` MiB more."""
    return judge("worker 1", "memory, MiB", SECONDS, [100 + value(second) for second in SECONDS])


def noise(second: float, most: float) -> float:
    return random.Random(second).uniform(0, most)


@pytest.mark.parametrize(
    "value",
    {
        "flat": lambda s: 0,
        "falling": lambda s: -s / 20,
        "noisy": lambda s: noise(s, 40),
        "rising while it warms up": lambda s: min(s, 190.0),
        "rising and falling as a heap does": lambda s: s % 60,
        "with large pictures now and then": lambda s: 900 if noise(s, 1) > 0.8 else noise(s, 5),
        "a little": lambda s: s / 600 * 5,
    }.items(),
    ids=lambda case: case[0],
)
def test_what_only_moves_holds(value: tuple[str, Callable[[float], float]]) -> None:
    finding = memory(value[1])
    assert not finding.grows, finding
    assert str(finding).startswith("holds")


@pytest.mark.parametrize(
    "value",
    {
        "steadily": lambda s: s / 600 * 25,
        "steadily, with noise": lambda s: s / 600 * 30 + noise(s, 20),
        "under a heap's tides": lambda s: s / 600 * 30 + s % 60,
        "under large pictures": lambda s: s / 600 * 30 + (900 if noise(s, 1) > 0.8 else 0),
    }.items(),
    ids=lambda case: case[0],
)
def test_what_rises_for_as_long_as_it_runs_grows(value: tuple[str, Callable[[float], float]]) -> None:
    finding = memory(value[1])
    assert finding.grows, finding
    assert str(finding).startswith("GROWS")


@pytest.mark.parametrize("quantity", BOUNDS)
def test_one_more_a_minute_is_too_many_of_anything_but_megabytes(quantity: str) -> None:
    finding = judge("java", quantity, SECONDS, [50 + second // 60 for second in SECONDS])
    assert finding.rise == pytest.approx(400 / 60, abs=1)
    assert finding.grows is (quantity not in ("memory, MiB", "records, MiB"))


def test_files_that_are_removed_and_still_open_are_weighed(tmp_path: Path) -> None:
    before = weigh_removed([os.getpid()])
    with (tmp_path / "big").open("wb") as file:
        file.write(bytes(1 << 20))
        file.flush()
        assert weigh_removed([os.getpid()]) == before
        assert weigh(tmp_path) == (1, 1 << 20)
        (tmp_path / "big").unlink()
        assert weigh_removed([os.getpid()]) == (before[0] + 1, before[1] + (1 << 20))
        assert weigh(tmp_path) == (0, 0)


def test_a_rise_is_per_series_not_per_sample() -> None:
    """Twice as long at half the slope is the same rise."""
    long = [2 * second for second in SECONDS]
    short = judge("caddy", "memory, MiB", SECONDS, [50 + second / 20 for second in SECONDS])
    assert judge("caddy", "memory, MiB", long, [50 + second / 40 for second in long]).rise == pytest.approx(short.rise)


def test_a_trial_of_twenty_seconds_can_be_judged() -> None:
    seconds = SECONDS[:10]
    assert not judge("java", "threads", seconds, [40.0] * 10).grows
    assert judge("java", "threads", seconds, [40.0 + second for second in seconds]).grows
