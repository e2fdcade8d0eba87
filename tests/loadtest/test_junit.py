"""junit.xml: what CI shows."""

from xml.etree import ElementTree
from xml.etree.ElementTree import Element

import pytest

from common.verdicts import Verdict
from loadtest.judge.summary import Summary
from loadtest.report.junit import to_junit
from tests.loadtest.support import build


def suite(summary: Summary) -> Element:
    element = ElementTree.fromstring(to_junit(summary)).find("testsuite")
    assert element is not None
    return element


@pytest.fixture(scope="module")
def passed() -> Summary:
    return build(slower=0.5, failing=0, duration=200, sample=True)


@pytest.fixture(scope="module")
def broken() -> Summary:
    """A summary whose findings are BREACH three times and INCONCLUSIVE once."""
    return build(failing=0.002)


def test_each_finding_is_a_test_case(broken: Summary) -> None:
    names = [case.get("name") for case in suite(broken).findall("testcase")]
    assert names == ["rest latency", "rest availability", "grpc latency", "grpc availability"]


def test_what_breached_and_what_is_inconclusive_fails_with_its_sentence(broken: Summary) -> None:
    failures = {failure.get("message"): failure.get("type") for failure in suite(broken).iter("failure")}
    assert failures == {f.sentence: f.verdict.lower() for f in broken.findings if f.verdict is not Verdict.PASS}
    assert sorted(filter(None, failures.values())) == ["breach", "breach", "breach", "inconclusive"]


def test_the_counts_are_those_of_the_cases(broken: Summary) -> None:
    counts = suite(broken)
    assert [counts.get(key) for key in ("tests", "failures", "errors")] == ["4", "4", "0"]


def test_what_passed_has_no_child(passed: Summary) -> None:
    assert passed.verdict is Verdict.PASS
    assert [len(case) for case in suite(passed).iter("testcase")] == [0, 0, 0, 0]


@pytest.mark.parametrize("verdict", [Verdict.INVALID, Verdict.NOT_READY])
def test_a_measurement_that_is_worth_nothing_puts_every_objective_in_error(passed: Summary, verdict: Verdict) -> None:
    summary = passed.model_copy(update={"verdict": verdict, "reasons": ["It lagged."]})
    errors = list(suite(summary).iter("error"))
    assert [(error.get("type"), error.text) for error in errors] == [(verdict.lower(), "It lagged.")] * 4
    assert suite(summary).get("errors") == "4"


def test_without_any_finding_the_measurement_itself_is_the_test_case() -> None:
    counts = suite(build(duration=10, verdict=Verdict.NOT_READY, findings=[], reasons=["Nobody answers."]))
    assert [counts.get(key) for key in ("tests", "errors")] == ["1", "1"]


def test_an_objective_of_one_stage_names_it(broken: Summary) -> None:
    finding = broken.findings[0].model_copy(update={"stage": "step 5"})
    names = [case.get("name") for case in suite(broken.model_copy(update={"findings": [finding]})).iter("testcase")]
    assert names == ["rest latency, step 5"]


def test_characters_that_xml_has_not_do_not_break_it(broken: Summary) -> None:
    finding = broken.findings[0].model_copy(update={"sentence": 'a\x00b <&"\x1b'})
    failure = suite(broken.model_copy(update={"findings": [finding]})).find("testcase/failure")
    assert failure is not None
    assert failure.get("message") == 'a\ufffdb <&"\ufffd'
