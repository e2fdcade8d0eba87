"""Faults that users feel page within 90 seconds, and nothing else does, as promtool evaluates the rules."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.monitoring.fleet import PROTOCOLS, Pod
from tests.monitoring.support import Alerts, evaluate, needs_promtool

pytestmark = needs_promtool
EVERY_S = 15
# The alerts that need no error budget; tests/monitoring/test_budgets.py has the others.
PAGES = "failing"
WELL_S = 300
# Prometheus reads a fault up to EVERY_S after it began, and Alertmanager waits for others of its group for ten seconds.
WITHIN_S = 90 - EVERY_S - 10
FAILING, SLOW = "CatsdogsRequestsFailing", "CatsdogsRequestsSlow"
UNREACHABLE, NO_WORKER = "CatsdogsUnreachable", "CatsdogsNoWorkerReady"
OF_REST = {FAILING, SLOW}
TORCHSERVE = ("catsdogs_workers", "catsdogs_worker_", "catsdogs_stage", "catsdogs_batch", "catsdogs_queue_limit")
Step = Callable[[Pod], None]


def pages(*names: str) -> Alerts:
    return {("page", name, *(("rest",) if name in OF_REST else ())) for name in names}


def well(pod: Pod) -> None:
    pod.ask(10 * EVERY_S)
    for protocol in PROTOCOLS[1:]:
        pod.ask(EVERY_S, protocol)


def failing(pod: Pod) -> None:
    pod.ask(10 * EVERY_S, code="503", seconds=0.001)


def a_tenth_failing(pod: Pod) -> None:
    pod.ask(9 * EVERY_S)
    pod.ask(1 * EVERY_S, code="500")


def one_at_a_time_failing(pod: Pod) -> None:
    pod.ask(1, code="504", seconds=10)


def slow(pod: Pod) -> None:
    pod.ask(10 * EVERY_S, seconds=1.7)


def hung_until_clients_leave(pod: Pod) -> None:
    pod.ask(5 * EVERY_S, code="499", seconds=5)


def stuck_clients(pod: Pod) -> None:
    """Three clients wait for five seconds each, and send no more meanwhile."""
    pod.ask(3 * EVERY_S / 5, code="499", seconds=5)


def no_worker(pod: Pod) -> None:
    pod.set("catsdogs_workers_ready", 0)


def java_stopped(pod: Pod) -> None:
    pod.values = {key: value for key, value in pod.values.items() if not key[0].startswith(TORCHSERVE)}
    pod.set("catsdogs_torchserve_up", 0)


def broken_inputs(pod: Pod) -> None:
    well(pod)
    pod.ask(50 * EVERY_S, code="415", seconds=0.002)
    pod.ask(50 * EVERY_S, code="413", seconds=0)


def impatient_clients(pod: Pod) -> None:
    well(pod)
    pod.ask(5 * EVERY_S, code="499", seconds=0.2)


def quiet(pod: Pod) -> None:
    """No requests at all."""


def restarted(pod: Pod) -> None:
    """Begin again at 0 at the first step of the fault, and then be well."""
    if pod.scrapes == WELL_S // EVERY_S:
        pod.begin()
    well(pod)


def a_single_failure(pod: Pod) -> None:
    if pod.scrapes == WELL_S // EVERY_S:
        pod.ask(1, code="500")
    elif pod.scrapes % 2:
        pod.ask(1)


def evaluated(
    folder: Path,
    step: Step,
    before: Step,
    expected: Alerts,
    after_s: int,
    answered: bool = True,
    groups: str = PAGES,
) -> None:
    """Require these pages so long after a pod that was well for five minutes began to behave otherwise."""
    pod = Pod()
    for second in range(0, WELL_S + after_s + EVERY_S, EVERY_S):
        (before if second < WELL_S else step)(pod)
        pod.scrape(answered or second < WELL_S)
    times = {f"{WELL_S - EVERY_S}s": set(), f"{WELL_S + after_s}s": expected}
    evaluate(folder, pod.series(), EVERY_S, times, severity="page", groups=groups)


@pytest.mark.parametrize(
    ("fault", "before", "expected"),
    [
        (failing, well, pages(FAILING, SLOW)),
        (a_tenth_failing, well, pages(FAILING)),
        (one_at_a_time_failing, quiet, pages(FAILING)),
        (slow, well, pages(SLOW)),
        (hung_until_clients_leave, well, pages(SLOW)),
        (stuck_clients, well, pages(SLOW)),
        (no_worker, quiet, pages(NO_WORKER)),
        (java_stopped, quiet, pages(NO_WORKER)),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_fault_that_hurts_users_pages_within_90_seconds(
    fault: Step, before: Step, expected: Alerts, tmp_path: Path
) -> None:
    evaluated(tmp_path, fault, before, expected, WITHIN_S)


def test_a_server_that_answers_nobody_pages_within_90_seconds(tmp_path: Path) -> None:
    evaluated(tmp_path, well, well, pages(UNREACHABLE), WITHIN_S, answered=False)


@pytest.mark.parametrize("step", [broken_inputs, impatient_clients, quiet, restarted, a_single_failure])
def test_what_hurts_no_user_pages_nobody(step: Step, tmp_path: Path) -> None:
    evaluated(
        tmp_path, step, a_single_failure if step is a_single_failure else well, set(), 600, groups="failing|-rest"
    )


def test_a_page_ends_a_minute_after_its_fault(tmp_path: Path) -> None:
    pod = Pod()
    for second in range(0, WELL_S + 240, EVERY_S):
        (failing if WELL_S <= second < WELL_S + 60 else well)(pod)
        pod.scrape()
    times: dict[str, Alerts] = {f"{WELL_S + 60}s": pages(FAILING, SLOW), f"{WELL_S + 150}s": set()}
    evaluate(tmp_path, pod.series(), EVERY_S, times, severity="page", groups=PAGES)


def test_one_of_two_pods_that_is_not_read_pages_nobody(tmp_path: Path) -> None:
    pods = Pod("a"), Pod("b")
    for scrape in range(60):
        for pod in pods:
            well(pod)
            pod.scrape(answered=pod.name == "a" or scrape < 20)
    series = {name: samples for pod in pods for name, samples in pod.series().items()}
    expected: Alerts = {("ticket", "CatsdogsScrapeMissing")}
    evaluate(tmp_path, series, EVERY_S, {"885s": expected}, groups="failing|blind")
