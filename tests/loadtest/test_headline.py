"""The sentences at the top of the report, by verdict."""

import pytest

from common.verdicts import Verdict
from loadtest.judge.summary import Summary
from loadtest.report.headline import advice, headline
from loadtest.report.words import plain
from tests.loadtest.support import build


def said(summary: Summary) -> tuple[str, str]:
    return plain(headline(summary)), plain(advice(summary))


def count(summary: Summary) -> int:
    return sum(finding.count for finding in summary.findings if finding.threshold)


def test_a_pass_says_how_many_pictures_were_answered_within_the_limit() -> None:
    summary = build(slower=0.4, failing=0, duration=300)
    assert summary.verdict is Verdict.PASS
    bad = sum(finding.bad for finding in summary.findings if finding.threshold)
    first, second = said(summary)
    assert (
        first == f"The server answered 99.87 % of {count(summary):,} pictures within 250 ms: it meets its objectives."
    )
    assert round(100 * (1 - bad / count(summary)), 2) == 99.87
    assert second.startswith(
        "The objectives are: 99 % answered within 250 ms, 99.9 % answered at all, by each protocol. "
    )
    assert second.endswith("A server that misses an objective passes this test with a chance of at most 5 %.")


def test_a_pass_of_a_small_sample_does_not_claim_the_objectives() -> None:
    first, second = said(build(sample=True, failing=0, verdict=Verdict.PASS))
    assert first.endswith("it meets its objectives, as far as so few pictures can show.")
    assert "The column Shown" in second


def test_a_breach_names_the_objectives_that_are_missed() -> None:
    first, _ = said(build(failing=0.002))
    assert ": it misses 3 of 4 objectives (rest latency, grpc latency, grpc availability)." in first


def test_too_few_requests_are_no_pass() -> None:
    summary = build(slower=0.5, failing=0, duration=20)
    assert summary.verdict is Verdict.INCONCLUSIVE
    first, second = said(summary)
    assert first.endswith(
        f"{count(summary):,} pictures within 250 ms. These are too few to say whether it meets its objectives."
    )
    assert second.endswith("A longer test can decide.")


def test_limits_that_differ_by_protocol_are_not_named_as_one() -> None:
    summary = build(failing=0)
    findings = [
        finding.model_copy(update={"threshold": 1.0}) if finding.name == "grpc latency" else finding
        for finding in summary.findings
    ]
    first, second = said(summary.model_copy(update={"findings": findings}))
    assert " pictures in time: " in first
    assert "99 % answered within 250 ms, 99 % answered within 1 s" in second


def test_all_objectives_that_are_counted_are_named() -> None:
    summary = build(failing=0.002, protocols=("rest",))
    template = summary.findings[-1].model_copy(update={"verdict": Verdict.PASS})
    accuracy = template.model_copy(update={"name": "accuracy", "objective": 0.85})
    correctness = template.model_copy(update={"name": "correctness", "objective": 1.0})
    first, second = said(summary.model_copy(update={"findings": [*summary.findings, accuracy, correctness]}))
    assert " of 4 objectives" in first
    objectives = (
        "99 % answered within 250 ms, 99.9 % answered at all; 85 % of the labels right; no inconsistent answers"
    )
    assert second.startswith(f"The objectives are: {objectives}.")


def test_requests_that_are_broken_on_purpose_are_not_called_pictures() -> None:
    summary = build(failing=0)
    plan = summary.plan.model_copy(update={"bad_share": 0.1})
    assert " requests within 250 ms" in said(summary.model_copy(update={"plan": plan}))[0]


@pytest.mark.parametrize("verdict", [Verdict.INVALID, Verdict.NOT_READY])
def test_what_says_nothing_of_the_server_claims_nothing(verdict: Verdict) -> None:
    first, second = said(build(failing=0, verdict=verdict))
    assert "meets" not in first + second
    assert "misses" not in first + second
    assert ("nothing about the server" if verdict is Verdict.INVALID else "nothing was measured") in first


def test_without_any_request_there_is_a_sentence() -> None:
    nothing: dict[str, object] = {"findings": [], "rows": []}
    first, second = said(build(verdict=Verdict.INCONCLUSIVE).model_copy(update=nothing))
    assert first.startswith("The server answered \u2013 of 0 pictures. ")
    assert second.strip() == "A longer test can decide."
