"""Burn rates of the error budget: what pages, what makes a ticket, and what does neither, by promtool."""

from pathlib import Path

import pytest

from tests.monitoring.fleet import Pod
from tests.monitoring.support import Alerts, evaluate, needs_promtool

pytestmark = needs_promtool
EVERY_S = 300
OF_REST = "(availability|latency)-rest"
BURN = "CatsdogsAvailabilityBudgetBurn"
PAGE, TICKET = ("page", BURN, "rest"), ("ticket", BURN, "rest")
# A request that failed is slow, too, and a hundredth of them may be.
SLOW = ("ticket", "CatsdogsLatencyBudgetBurn", "rest")


def burn(folder: Path, share: float, requests: float, hours: int, expected: Alerts) -> None:
    """Require these alerts after so many hours in which this share of the requests failed."""
    pod = Pod()
    for _ in range(hours * 3600 // EVERY_S * 2):
        pod.ask(requests * (1 - share))
        pod.ask(requests * share, code="503")
        pod.scrape()
    evaluate(folder, pod.series(), EVERY_S // 2, {f"{hours}h": expected}, groups=OF_REST)


@pytest.mark.parametrize(
    ("share", "hours", "expected"),
    [
        pytest.param(0.02, 1, {PAGE, TICKET, SLOW}, id="20 times what is allowed"),
        pytest.param(0.008, 4, {PAGE, TICKET}, id="8 times"),
        pytest.param(0.004, 4, {TICKET}, id="4 times"),
        pytest.param(0.0015, 4, {TICKET}, id="1.5 times"),
        pytest.param(0.0005, 4, set(), id="half"),
    ],
)
def test_the_faster_the_budget_burns_the_louder_the_alert(
    share: float, hours: int, expected: Alerts, tmp_path: Path
) -> None:
    burn(tmp_path, share, 3000, hours, expected)


def test_few_failures_of_few_requests_are_no_fast_burn(tmp_path: Path) -> None:
    burn(tmp_path, 0.02, 7, 1, set())  # 168 requests in an hour, of which three failed


def test_without_requests_there_is_no_ratio_and_with_requests_no_gap_counts(tmp_path: Path) -> None:
    pod = Pod()
    for scrape in range(120):
        if scrape < 40:
            pod.ask(297)
            pod.ask(3, code="500")
        pod.scrape()
    ratio = 'slo:sli_error:ratio_rate{}{{sloth_slo="availability-rest"}}'
    last = "119m"
    queries = {
        (last, f"count({ratio.format('5m')}) or vector(0)"): 0.0,
        (last, f"sum({ratio.format('30d')})"): 0.01,
        (last, 'sum(slo:period_error_budget_remaining:ratio{sloth_slo="availability-rest"})'): -9.0,
    }
    evaluate(tmp_path, pod.series(), 60, values=queries, groups=OF_REST)
