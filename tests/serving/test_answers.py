"""Clients read a server's answers."""

import json

import grpc
import pytest

from handler import release
from serving.client import answers
from serving.client.answers import Contradiction, check_consistent, is_class, read_problem, read_reply, some_of
from serving.wire import field
from tests.grpc_server import details, problem

PROBLEM = problem(415, "unsupported_image")


def test_an_answer_whose_parts_go_together_is_taken() -> None:
    check_consistent("cat", 0.7, {"cat": 0.7, "dog": 0.3})
    check_consistent("cat", 0.5, {"cat": 0.5, "dog": 0.5})


@pytest.mark.parametrize(
    ("label", "probability", "probabilities", "sentence"),
    [
        ("cow", 0.7, {"cat": 0.7, "dog": 0.3}, "none of the classes"),
        ("dog", 0.3, {"cat": 0.7, "dog": 0.3}, "not the most probable class"),
        ("cat", 0.3, {"cat": 0.7, "dog": 0.3}, "two probabilities"),
        ("cat", 0.7, {"cat": 0.7, "dog": 0.1}, "do not sum to 1"),
        ("a", 0.9, {"a": 0.9, "b": 0.8, "c": 0, "d": 0, "e": 0}, "do not sum to 1"),
        ("cat", 1.7, {"cat": 1.7, "dog": -0.7}, "not between 0 and 1"),
        ("cat", float("nan"), {"cat": float("nan"), "dog": 0.1}, "not between 0 and 1"),
        ("cat", 0.7, {}, "none of the classes"),
    ],
)
def test_parts_that_contradict_each_other_are_told(
    label: str, probability: float, probabilities: dict[str, float], sentence: str
) -> None:
    with pytest.raises(Contradiction, match=sentence):
        check_consistent(label, probability, probabilities)


def test_the_first_five_of_many_classes_may_sum_to_less() -> None:
    check_consistent("a", 0.3, {"a": 0.3, "b": 0.1, "c": 0.1, "d": 0.1, "e": 0.1})
    assert answers.TOP == release.TOP


def test_a_class_is_found_among_others_whatever_its_case_and_commas() -> None:
    assert is_class("Persian,Dog, terrier,tabby", "persian")
    assert is_class("Persian,Dog, terrier,tabby", "dog, terrier")
    assert not is_class("Persian,tabby", "tab")


def test_of_many_names_the_first_are_told() -> None:
    assert some_of(["a", "b"]) == "a, b"
    assert some_of(list("abcdefg")) == "a, b, c, d, e and 2 more"


def test_a_reply_of_every_critical_length_is_read() -> None:
    for size in (*range(20, 1000), 15_739, 16_383, 16_384, 31_483, 70_000):
        data = json.dumps({"label": "cat"}).encode().ljust(size)
        assert read_reply(field(1, data)) == {"label": "cat"}


@pytest.mark.parametrize("message", [b"", b"\x0a\x05{}", b"{}", field(1, b"[")])
def test_what_is_no_reply_is_a_value_error(message: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        read_reply(message)


def test_the_problem_document_in_a_status_is_read() -> None:
    assert read_problem(details(grpc.StatusCode.INVALID_ARGUMENT, PROBLEM)) == PROBLEM


@pytest.mark.parametrize("size", [1, 121, 123, 376, 888, 16_384])
def test_a_problem_document_of_any_length_is_read(size: int) -> None:
    long = {**PROBLEM, "detail": "{" * size}
    assert read_problem(details(grpc.StatusCode.INTERNAL, long)) == long


@pytest.mark.parametrize("broken", [b"", b"\xff", b"\x1a\x05ab", field(2, b"only a message")])
def test_a_status_without_a_problem_document_has_none(broken: bytes) -> None:
    assert read_problem(broken) is None
