"""The search, against a server whose limit is known: M/D/1, simulated, without waiting."""

import itertools
import json
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from common.binomial import design_effect
from handler.files import UserError
from loadtest import slo
from loadtest.capacity.measure import load_of, run
from loadtest.capacity.search import Load, Search, Tally
from loadtest.capacity.trial import Trial
from loadtest.defaults import SLO
from loadtest.judge.summary import Summary
from loadtest.judge.verdict import overall
from loadtest.report.words import plain
from monitoring.objectives import Latency
from tests.loadtest.queue_theory import capacity, quantile, simulate
from tests.loadtest.test_judge import DrawnTest, gate

SERVICE = 0.02
LATENCY = Latency(threshold=0.1, objective=0.99)
PLAN = slo.Capacity(
    start_rate=5,
    highest_rate=200,
    precision=0.05,
    trial=20,
    warmup=4,
    confirm_runs=3,
    confirm=300,
    step_down=0.03,
    confidence=0.95,
)
Ask = Callable[[float, float, bool], Load]


def server(seed: int, service: float = SERVICE, generator_s: float = 1e9) -> Ask:
    rng = random.Random(seed)

    def ask(rate: float, duration: float, confirming: bool) -> Load:
        at, arrivals = 0.0, []
        while (at := at + rng.expovariate(rate)) < duration:
            arrivals.append(at)
        latencies = simulate(arrivals, service)
        due, bad = [0] * (int(duration) + 1), [0] * (int(duration) + 1)
        for arrival, latency in zip(arrivals, latencies, strict=True):
            due[int(arrival)] += 1
            bad[int(arrival)] += latency > LATENCY.threshold
        slow, effect = sum(bad), design_effect(due, bad)
        latencies.sort()
        kind, last = "confirm" if confirming else "search", len(latencies) - 1
        p50, p99 = latencies[last // 2], latencies[round(last * 0.99)]
        trial = Trial(rate, rate, p50, p99, slow / len(latencies), 0.0, len(latencies), "", kind)  # type: ignore[arg-type]
        return Load(
            trial, (Tally(0.99, slow, len(latencies), effect),), "it sends too late." if rate > generator_s else None
        )

    return ask


@pytest.mark.parametrize("seed", range(4))
def test_it_finds_the_rate_of_theory_within_ten_percent(seed: int) -> None:
    result = Search(PLAN, LATENCY, 0.999, "rest", server(seed)).run()
    theory = capacity(SERVICE, LATENCY.threshold, LATENCY.objective)
    assert result.confirmed == pytest.approx(theory, rel=0.1)
    # What is promised was shown, so it is no more than there is, by more than what a sample can err.
    assert result.confirmed is not None
    assert result.confirmed <= theory * 1.02
    assert result.lowest_breached is not None
    assert result.confirmed < result.lowest_breached


def test_a_server_that_never_breaks_is_not_asked_beyond_the_highest_rate() -> None:
    result = Search(PLAN, LATENCY, 0.999, "rest", server(1, service=0.0001)).run()
    assert (result.confirmed, result.lowest_breached) == (200, None)
    assert "more was not tried" in result.sentence


def test_where_the_first_rate_is_too_high_it_looks_below() -> None:
    result = Search(PLAN.model_copy(update={"start_rate": 100}), LATENCY, 0.999, "rest", server(1)).run()
    assert result.confirmed == pytest.approx(capacity(SERVICE, 0.1, 0.99), rel=0.1)


def test_a_server_that_keeps_nothing_has_no_capacity() -> None:
    result = Search(PLAN, LATENCY, 0.999, "rest", server(1, service=0.2)).run()
    assert result.confirmed is None
    assert "no rate keeps 99 % within 100 ms and 99.9 % answered" in result.sentence


def test_a_generator_that_is_the_limit_is_said_to_be() -> None:
    search = Search(PLAN, LATENCY, 0.999, "rest", server(1, generator_s=15))
    result = search.run()
    assert result.confirmed is not None
    assert result.confirmed <= 15
    assert search.limit == "it sends too late."
    assert "the generator is the limit, not the server" in result.sentence


def sends_late(rate: float, duration: float, confirming: bool) -> Load:
    return replace(server(1)(rate, duration, confirming), late="it sends too late.")


def test_what_is_kept_is_kept_by_a_generator_that_sends_late_and_what_is_not_is_its_fault() -> None:
    search = Search(PLAN, LATENCY, 0.999, "rest", sends_late)
    assert search.run().confirmed == pytest.approx(capacity(SERVICE, 0.1, 0.99), rel=0.1)
    assert search.limit == "it sends too late."


def of_drawn(latency_s: float, lag_s: float) -> Load:
    """Return the load of a test whose requests were all sent so late and answered so long after they were due."""
    drawn = DrawnTest(gate(), lambda second, rng: latency_s, lag=lag_s)
    findings, reasons = list(drawn.findings().values()), [plain(reason) for reason in drawn.reasons()]
    verdict = overall(findings, reasons)
    summary = Summary.model_construct(verdict=verdict, reasons=reasons, rows=drawn.rows, findings=findings)
    return load_of(summary, "rest", 20, "search")


@pytest.mark.parametrize(
    ("latency_s", "lag_s", "is_late"), [(0.05, 0.01, False), (0.05, 0.03, True), (0.27, 0.03, True), (0.3, 0.03, False)]
)
def test_a_late_generator_excuses_answers_that_were_in_time_from_when_they_were_asked(
    latency_s: float, lag_s: float, is_late: bool
) -> None:
    """250 ms are promised, and a tenth of that may be the generator's."""
    load = of_drawn(latency_s, lag_s)
    assert load.limited is None
    assert (load.late is not None) is is_late
    assert load.broken(0.95) is (latency_s > 0.25)


def test_theory_agrees_with_a_long_simulation() -> None:
    rng, at = random.Random(3), 0.0
    arrivals: list[float] = []
    while len(arrivals) < 300_000:
        arrivals.append(at := at + rng.expovariate(30))
    latencies = sorted(simulate(arrivals, SERVICE))
    for share in (0.5, 0.9, 0.99):
        assert latencies[round(share * len(latencies))] == pytest.approx(quantile(share, 30, SERVICE), rel=0.04)


def test_what_was_stepped_over_is_halved_again() -> None:
    """It passes 40 in a short trial; in long runs it keeps 34 and no more."""

    def ask(rate: float, duration: float, confirming: bool) -> Load:
        requests = round(rate * duration)
        bad = requests // 20 if rate > (34 if confirming else 40) else 0
        kind = "confirm" if confirming else "search"
        trial = Trial(rate, rate, 0.05, 0.09, bad / requests, 0.0, requests, "", kind)  # type: ignore[arg-type]
        return Load(trial, (Tally(0.99, bad, requests),))

    search = Search(PLAN, LATENCY, 0.999, "rest", ask)
    result = search.run()
    assert result.confirmed is not None
    assert result.lowest_breached is not None
    assert result.confirmed <= 34 < result.lowest_breached
    assert result.lowest_breached - result.confirmed <= PLAN.precision * result.lowest_breached
    # 40, 38.8, 36.5 and 32.1; then between the last two. One run is enough to refuse a rate, three to accept it.
    kinds = [trial.kind for trial in result.trials]
    assert kinds.count("confirm") <= 3 + 3 + 1 + 3 + 1


def test_a_step_down_is_never_more_than_an_eighth() -> None:
    def ask(rate: float, duration: float, confirming: bool) -> Load:
        requests = round(rate * duration)
        bad = requests // 20 if rate > (10 if confirming else 40) else 0
        trial = Trial(rate, rate, 0.05, 0.09, bad / requests, 0.0, requests, "", "confirm" if confirming else "search")
        return Load(trial, (Tally(0.99, bad, requests),))

    result = Search(PLAN, LATENCY, 0.999, "rest", ask).run()
    assert result.confirmed is not None
    assert 9 <= result.confirmed <= 10
    rates = [trial.rate for trial in result.trials if trial.kind == "confirm" and trial.rate > 10]
    assert all(after >= 0.875 * before for before, after in itertools.pairwise(rates) if after < before)


def test_requests_that_are_refused_break_the_availability_where_the_latency_is_still_kept() -> None:
    """A server that sheds what it cannot do: above 30/s it refuses 3 of a thousand, which is no 1 % that is slow."""

    def ask(rate: float, duration: float, confirming: bool) -> Load:
        requests = round(rate * duration)
        refused = round(0.003 * requests) if rate > 30 else 0
        trial = Trial(rate, rate, 0.05, 0.09, refused / requests, refused / requests, requests, "", "confirm")
        return Load(trial, (Tally(0.99, refused, requests), Tally(0.999, refused, requests)))

    result = Search(PLAN, LATENCY, 0.999, "rest", ask).run()
    assert result.confirmed is not None
    assert 28.5 <= result.confirmed <= 30
    assert "99 % within 100 ms and 99.9 % answered" in result.sentence


def test_a_confirmation_lasts_until_the_availability_can_be_shown() -> None:
    search = Search(PLAN.model_copy(update={"confirm": 60}), LATENCY, 0.999, "rest", server(1))
    # 2,995 requests in each of three runs, or a minute.
    assert search.confirmation(10) == 300
    assert search.confirmation(80) == 60


def test_no_more_runs_of_a_rate_than_it_takes_to_refuse_it() -> None:
    """1.5 % are too slow, twenty at a time: one run proves nothing, but after two no third can show it kept."""

    def ask(rate: float, duration: float, confirming: bool) -> Load:
        requests = round(rate * duration)
        bad = round(requests * 0.015)
        trial = Trial(rate, rate, 0.05, 0.11, bad / requests, 0.0, requests, "", "confirm")
        return Load(trial, (Tally(0.99, bad, requests, effect=20),))

    search = Search(PLAN, LATENCY, 0.999, "rest", ask)
    assert not search.confirms(50)
    assert len(search.trials) == 2


def test_what_was_found_is_kept_when_it_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def asking(protocol: str, warmup: float, seed: int, arguments: object) -> Ask:
        answers = server(1)

        def stopped(rate: float, duration: float, confirming: bool) -> Load:
            if rate > 15:
                raise KeyboardInterrupt
            return answers(rate, duration, confirming)

        return answers if protocol == "rest" else stopped

    monkeypatch.setattr("loadtest.capacity.measure.asking", asking)
    monkeypatch.setattr("loadtest.capacity.measure.check_target", lambda *arguments: None)
    with pytest.raises(UserError, match=r"^Stopped\. .*capacity\.html holds the trials until then\.$"):
        run(url="http://127.0.0.1:1", slo=SLO, protocols=["rest", "grpc"], out=tmp_path, seed=0)
    rest, grpc = json.loads((tmp_path / "capacity.json").read_text())["capacities"]
    assert (rest["protocol"], rest["finished"]) == ("rest", True)
    assert (grpc["protocol"], grpc["finished"], grpc["confirmed"]) == ("grpc", False, None)
    assert [trial["rate"] for trial in grpc["trials"]] == [5, 10]
    assert grpc["sentence"] == "grpc: not confirmed yet; 10/s passed a short trial."
    assert "not ended" in (tmp_path / "capacity.html").read_text()
