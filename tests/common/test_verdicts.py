"""Verdicts of the gates, and their exit statuses."""

import pytest

from common.verdicts import WRONG_USAGE, Verdict


@pytest.mark.parametrize(
    ("verdict", "status"), [("PASS", 0), ("BREACH", 10), ("INCONCLUSIVE", 11), ("INVALID", 12), ("NOT_READY", 13)]
)
def test_each_verdict_has_its_exit_status(verdict: str, status: int) -> None:
    assert Verdict(verdict).exit_code == status


def test_no_verdict_looks_like_wrong_usage_or_like_another() -> None:
    statuses = [verdict.exit_code for verdict in Verdict]
    assert len({*statuses, WRONG_USAGE}) == len(statuses) + 1
