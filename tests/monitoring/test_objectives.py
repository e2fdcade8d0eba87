"""Durations in slo.yaml."""

import pytest

from monitoring.durations import seconds


@pytest.mark.parametrize(
    ("text", "expected"), [("250ms", 0.25), ("90s", 90), ("1.5m", 90), ("2h", 7200), (3, 3), ("7", 7)]
)
def test_a_duration_is_written_with_a_unit_or_in_seconds(text: object, expected: float) -> None:
    assert seconds(text) == expected
