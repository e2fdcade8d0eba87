"""Figures -> verdict."""

import itertools
import random

import pytest

from common.verdicts import Verdict
from loadtest import slo
from loadtest.defaults import PROTOCOLS
from loadtest.generate.recorder import Collector, Recorder
from loadtest.generate.shapes import Stage, stages
from loadtest.judge.early import breach_is_certain
from loadtest.judge.rows import make_rows
from loadtest.judge.summary import Finding
from loadtest.judge.verdict import invalid, judge, overall
from monitoring.objectives import Objectives

LATENCY = {"threshold": "250ms", "objective": 0.99}
OBJECTIVES = Objectives.model_validate(
    {
        "latency": dict.fromkeys(PROTOCOLS, LATENCY),
        "availability": {"objective": 0.999},
        "accuracy": {"objective": 0.85},
    }
)
START = 1_000_000


def gate(**changes: object) -> slo.Gate:
    values = {
        "shape": "steady",
        "protocols": ("rest",),
        "rate": 20,
        "duration": 60,
        "warmup": 5,
        "confidence": 0.95,
        "asserts": "sample",
        **changes,
    }
    return slo.Gate.model_validate(values)


class DrawnTest:
    """A test in which each request has the latency that a function says; None is a failure, `dropped` never sent."""

    def __init__(self, of: slo.Gate, latency: object, lag: float = 0.001, share: float = 1) -> None:
        self.gate = of
        self.stages: list[Stage] = stages(of.shape, of.rate, of.duration, of.warmup)
        recorder, rng = Recorder(dict.fromkeys(PROTOCOLS, 0.25)), random.Random(1)
        for stage in self.stages:
            for second in range(round(stage.start), round(stage.end)):
                for _ in range(round(stage.rate(second + 0.5) * share)):
                    due = START + second + rng.random()
                    seconds = latency(second, rng)  # type: ignore[operator]
                    recorder.due("rest", due)
                    if seconds == "dropped":
                        recorder.dropped("rest", due)
                        continue
                    recorder.sent("rest", due, due + lag)
                    if seconds is None:
                        recorder.failed("rest", due, "503 overloaded")
                    else:
                        recorder.answered("rest", due, due + lag, due + seconds, True, ("1", "abc"))
        self.collector = Collector()
        self.collector.add("one", recorder.take())
        self.rows = make_rows(self.collector, self.stages, START, of.protocols)

    def findings(self) -> dict[str, Finding]:
        findings = judge(self.collector, OBJECTIVES, self.gate, self.stages, START)
        return {f"{finding.name} {finding.stage}": finding for finding in findings}

    def reasons(self) -> list[str]:
        return invalid(self.rows, OBJECTIVES, self.gate, [stage for stage in self.stages if stage.measured])

    def verdict(self) -> Verdict:
        return overall(list(self.findings().values()), self.reasons())


def fast(second: int, rng: random.Random) -> float:
    return 0.05


def test_a_server_that_answers_all_in_time_passes() -> None:
    drawn = DrawnTest(gate(), fast)
    assert (drawn.verdict(), drawn.reasons()) == (Verdict.PASS, [])


def test_a_short_gate_asserts_what_its_sample_shows_and_says_so() -> None:
    found = DrawnTest(gate(duration=60), fast).findings()["rest availability all"]
    assert (found.objective, found.count, found.bad) == (0.999, 1200, 0)
    assert found.asserted == pytest.approx(0.996, abs=0.0001)
    assert "which shows 99.6 % at 95 % confidence; the objective of 99.9 % takes more requests" in found.sentence


@pytest.mark.parametrize(("seconds", "verdict"), [(14, Verdict.INCONCLUSIVE), (15, Verdict.PASS)])
def test_a_sample_that_shows_less_than_99_of_99_9_percent_is_inconclusive(seconds: float, verdict: Verdict) -> None:
    """299 requests show 99 % at 95 % confidence where all of them are good."""
    drawn = DrawnTest(gate(duration=seconds), fast)
    found = drawn.findings()["rest availability all"]
    assert found.asserted == pytest.approx(0.99)
    assert found.verdict is drawn.verdict() is verdict


def test_six_requests_show_nothing_and_are_told_how_many_would() -> None:
    drawn = DrawnTest(gate(rate=1, duration=6), fast)
    findings = drawn.findings()
    assert drawn.verdict() is Verdict.INCONCLUSIVE
    assert {found.verdict for found in findings.values()} == {Verdict.INCONCLUSIVE}
    assert findings["rest availability all"].sentence.endswith(
        "6 of 6 were answered well; at 95 % confidence that is between 61 % and 100 %, which does not tell whether 99 %"
        " is kept. That takes 299 requests, all of them good."
    )
    assert "whether 90 % is kept. That takes 29 requests" in findings["rest latency all"].sentence
    assert "whether 85 % is kept. That takes 19 requests" in findings["accuracy all"].sentence


def test_the_whole_objective_is_not_known_of_too_few() -> None:
    drawn = DrawnTest(gate(duration=60, asserts="whole"), fast)
    assert drawn.findings()["rest availability all"].verdict is Verdict.INCONCLUSIVE
    assert drawn.verdict() is Verdict.INCONCLUSIVE


def test_the_whole_objective_is_known_of_enough() -> None:
    drawn = DrawnTest(gate(duration=200, asserts="whole"), fast)
    found = drawn.findings()["rest availability all"]
    assert (found.verdict, found.asserted, found.count) == (Verdict.PASS, 0.999, 4000)


def test_slow_answers_are_a_breach_of_latency_and_not_of_availability() -> None:
    findings = DrawnTest(gate(), lambda second, rng: 0.4 if rng.random() < 0.05 else 0.05).findings()
    assert findings["rest latency all"].verdict is Verdict.BREACH
    assert findings["rest availability all"].verdict is Verdict.PASS


def test_failures_are_a_breach_of_both() -> None:
    findings = DrawnTest(gate(), lambda second, rng: None if rng.random() < 0.05 else 0.05).findings()
    assert findings["rest latency all"].verdict is findings["rest availability all"].verdict is Verdict.BREACH


def test_near_the_objective_nobody_knows() -> None:
    found = DrawnTest(gate(), lambda second, rng: 0.4 if rng.random() < 0.008 else 0.05).findings()["rest latency all"]
    assert found.bad_low < 0.01 < found.bad_high
    assert found.verdict is Verdict.INCONCLUSIVE
    assert "A longer test would" in found.sentence


def test_slow_requests_that_come_together_are_worth_less_than_their_number() -> None:
    numbers = itertools.count()
    scattered = DrawnTest(gate(duration=600), lambda second, rng: 0.4 if next(numbers) % 150 == 0 else 0.05)
    together = DrawnTest(gate(duration=600), lambda second, rng: 0.4 if second in (100, 200, 300, 400) else 0.05)
    apart, close = (drawn.findings()["rest latency all"] for drawn in (scattered, together))
    assert (apart.bad, close.bad) == (80, 80)
    assert (apart.verdict, close.verdict) == (Verdict.PASS, Verdict.INCONCLUSIVE)
    assert apart.design_effect == 1
    assert close.design_effect == pytest.approx(20, rel=0.02)


def test_what_is_slow_in_the_warm_up_is_not_counted() -> None:
    drawn = DrawnTest(gate(warmup=20), lambda second, rng: 2.0 if second < 20 else 0.05)
    assert drawn.verdict() is Verdict.PASS
    assert [row.slow for row in drawn.rows] == [400, 0, 0]


def test_a_stage_that_breaches_by_itself_is_not_hidden_by_the_others() -> None:
    # Of 1,500 requests 12 are slow, 0.8 %, all of them in the third of the time that is the spike.
    slow_ones = iter([0.4] * 40)

    def spike(second: int, rng: random.Random) -> float:
        return next(slow_ones, 0.05) if 35 <= second < 65 and rng.random() < 0.05 else 0.05

    found = DrawnTest(gate(shape="spike", rate=40, duration=90), spike).findings()
    assert found["rest latency spike"].verdict is Verdict.BREACH
    assert "in the stage spike" in found["rest latency spike"].sentence
    assert "rest latency before" not in found


def test_a_generator_that_sends_late_makes_it_invalid_even_where_all_is_fast() -> None:
    drawn = DrawnTest(gate(), fast, lag=0.03)
    assert drawn.verdict() is Verdict.INVALID
    assert "sent 30 ms late or later, and the gate allows 25 ms" in drawn.reasons()[0]


def test_a_generator_that_sends_late_is_not_the_server_s_breach() -> None:
    assert DrawnTest(gate(), lambda second, rng: 0.9, lag=0.6).verdict() is Verdict.INVALID


def test_a_generator_that_sends_too_few_makes_it_invalid() -> None:
    drawn = DrawnTest(gate(), fast, share=0.7)
    assert drawn.verdict() is Verdict.INVALID
    assert "in the stage steady it sent only 840 of 1200 requests" in drawn.reasons()[0]


def test_a_generator_that_sends_too_many_makes_it_invalid() -> None:
    assert DrawnTest(gate(), fast, share=1.3).verdict() is Verdict.INVALID


def test_requests_that_were_never_sent_are_no_pass() -> None:
    drawn = DrawnTest(gate(), lambda second, rng: "dropped" if second == 30 and rng.random() < 0.1 else 0.05)
    assert drawn.findings()["rest latency all"].verdict is not Verdict.BREACH
    assert drawn.verdict() is Verdict.INVALID


def test_requests_that_were_not_sent_since_none_was_answered_are_a_breach() -> None:
    drawn = DrawnTest(gate(), lambda second, rng: "dropped" if second > 20 else None)
    assert drawn.reasons()
    assert drawn.verdict() is Verdict.BREACH


def test_no_request_at_all_is_no_pass() -> None:
    assert DrawnTest(gate(), fast, share=0).verdict() is Verdict.INVALID


def test_a_server_that_says_anything_is_not_called_right() -> None:
    drawn, rng = DrawnTest(gate(), fast), random.Random(1)
    recorder = Recorder({"rest": 0.25})
    for second in range(5, 65):
        for _ in range(20):
            recorder.answered("rest", START + second, 0, 0.01, rng.random() < 0.5, ("1", "abc"))
    drawn.collector.add("two", recorder.take())
    assert drawn.findings()["accuracy all"].verdict is Verdict.BREACH


def test_what_is_lost_for_certain_is_known_before_the_end() -> None:
    of = gate(duration=100)
    slow, fine = DrawnTest(of, lambda second, rng: 0.4 if second < 10 else 0.05), DrawnTest(of, fast)
    assert breach_is_certain(slow.collector, OBJECTIVES, of, slow.stages, START)
    assert slow.findings()["rest latency all"].bad > 0
    assert not breach_is_certain(fine.collector, OBJECTIVES, of, fine.stages, START)
