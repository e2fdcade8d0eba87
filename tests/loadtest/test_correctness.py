"""Answers that contradict themselves, and models that take turns."""

from collections.abc import Callable

import pytest

from common.verdicts import Verdict
from loadtest.generate.recorder import Collector, Model, Recorder
from loadtest.judge.correctness import judge_correctness
from loadtest.judge.summary import Finding

SECONDS = range(1000, 1060)
A, B, C = (("0.1", "a" * 64), ("0.2", "b" * 64), ("0.3", "c" * 64))


def collected(model: Callable[[int, int], Model], contradictory: int = 0) -> Collector:
    """Ten answers a second, each by the model that a function of second and number says."""
    recorder = Recorder({"rest": 1})
    for second in SECONDS:
        for number in range(10):
            recorder.due("rest", second)
            recorder.answered("rest", second, second, second, None, model(second - SECONDS[0], number))
    for _ in range(contradictory):
        recorder.due("rest", SECONDS[0])
        recorder.failed("rest", SECONDS[0], "200: the label is not the most probable class", contradictory=True)
    collector = Collector()
    collector.add("one", recorder.take())
    return collector


def judged(model: Callable[[int, int], Model], contradictory: int = 0, max_models: int = 1) -> Finding:
    (finding,) = judge_correctness(collected(model, contradictory), SECONDS, 0.95, max_models)
    return finding


def always_the_same(second: int, number: int) -> Model:
    return A


def in_turn(second: int, number: int) -> Model:
    return (A, B)[number % 2]


def rollout(second: int, number: int) -> Model:
    return A if second < 20 else B if second >= 40 else in_turn(second, number)


def test_consistent_answers_of_one_model_pass() -> None:
    finding = judged(always_the_same)
    assert (finding.verdict, finding.count, finding.bad) == (Verdict.PASS, 600, 0)


def test_one_answer_that_contradicts_itself_is_a_breach() -> None:
    finding = judged(always_the_same, contradictory=1)
    assert (finding.verdict, finding.count, finding.bad) == (Verdict.BREACH, 601, 1)
    assert finding.sentence == "correctness: 1 of 601 answers contradict themselves."


def test_two_models_in_turn_are_a_breach() -> None:
    finding = judged(in_turn)
    assert (finding.verdict, finding.bad) == (Verdict.BREACH, 300)
    assert "2 models answered from the beginning to the end (0.1 aaaaaaaaaaaa, 0.2 bbbbbbbbbbbb)" in finding.sentence


@pytest.mark.parametrize("length", [5, 10, 20, 30])
def test_two_models_that_come_back_are_a_breach(length: int) -> None:
    def by_turns(second: int, number: int) -> Model:
        return (A, B)[(second // length) % 2]

    # Of 30 seconds each there is one turn, which a rollout is too.
    assert judged(by_turns).verdict is (Verdict.BREACH if length < 20 else Verdict.PASS)


def test_another_model_for_each_answer_is_a_breach() -> None:
    finding = judged(lambda second, number: ("1", f"{100 * second + number:064x}"))
    assert finding.verdict is Verdict.BREACH
    assert "600 models answered" in finding.sentence
    assert "..." in finding.sentence


def test_a_model_that_changes_its_sha256_alone_is_another_one() -> None:
    assert judged(lambda second, number: ("0.1", "ab"[number % 2] * 64)).verdict is Verdict.BREACH


def test_a_rollout_is_no_breach() -> None:
    assert judged(rollout).verdict is Verdict.PASS


def test_a_rollout_that_is_under_way_at_the_start_or_the_end_is_no_breach() -> None:
    assert judged(lambda second, number: rollout(second + 30, number)).verdict is Verdict.PASS
    assert judged(lambda second, number: rollout(second - 25, number)).verdict is Verdict.PASS


def test_a_rollout_that_is_undone_is_no_breach() -> None:
    def undone(second: int, number: int) -> Model:
        return in_turn(second, number) if 20 <= second < 40 else A

    assert judged(undone).verdict is Verdict.PASS


def test_three_models_are_a_breach_in_whatever_order() -> None:
    assert judged(lambda second, number: (A, B, C)[second // 20]).verdict is Verdict.BREACH


def test_a_canary_that_was_said_is_no_breach() -> None:
    assert judged(in_turn, max_models=2).verdict is Verdict.PASS
    assert judged(lambda second, number: (A, B, C)[number % 3], max_models=2).verdict is Verdict.BREACH


def test_servers_that_name_no_model_are_not_judged_by_it() -> None:
    assert judged(lambda second, number: (None, None)).verdict is Verdict.PASS


def test_without_answers_there_is_nothing_to_judge() -> None:
    assert judge_correctness(Collector(), SECONDS, 0.95, 1) == []
