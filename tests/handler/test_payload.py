import base64
import json
import time
from typing import Any

import pytest

from handler.payload import check_deadline, image_bytes, read_request, read_top_k
from handler.preprocess import InputSpec
from handler.problem import Problem
from handler.release import Release

RELEASE = Release("catsdogs", "1.0.0", ["cat", "dog"], InputSpec(128), "f" * 64, {}, [])
TEXT = base64.b64encode(b"jpeg").decode()
V1 = json.dumps({"instances": [TEXT, TEXT]}).encode()
V2 = json.dumps({"inputs": [{"name": "x", "datatype": "BYTES", "shape": [2], "data": [TEXT, TEXT]}]}).encode()
ANSWER: dict[str, Any] = {"label": "cat", "probability": 0.9, "probabilities": {"cat": 0.9, "dog": 0.1}}
NUMBERS = ["-1", "+1", " 1", "1.0", "1e3", "0x1", "x", "nan", "٣", "²", "1,2", "9" * 5000]


@pytest.mark.parametrize("field", ["body", "data", "file", "any-name"])
def test_one_part_of_any_name_is_the_picture(field: str) -> None:
    assert image_bytes({field: bytearray(b"jpeg")}) == b"jpeg"


@pytest.mark.parametrize(
    ("row", "code"),
    [
        ({}, "no_image"),
        ({"body": b""}, "no_image"),
        ({"a": b"1", "b": b"2"}, "no_image"),
        ({"body": {"instances": []}}, "bad_json"),
        ({"body": "text"}, "bad_json"),
    ],
)
def test_anything_else_is_a_problem_of_the_client(row: dict[str, object], code: str) -> None:
    with pytest.raises(Problem) as raised:
        image_bytes(row)
    assert (raised.value.status, raised.value.code) == (400, code)


@pytest.mark.parametrize("headers", [{}, {"x-catsdogs-protocol": ""}, {"x-catsdogs-protocol": "v3"}])
def test_without_a_protocol_the_body_is_the_picture_and_the_answer_as_it_is(headers: dict[str, str]) -> None:
    request = read_request({"body": bytearray(V1)}, headers, RELEASE)
    assert request.pictures == [V1]
    assert request.word([ANSWER]) == ANSWER


def test_a_form_is_taken_apart_where_the_gateway_says_that_it_is_one() -> None:
    form = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\njpeg\r\n--x--\r\n'
    assert read_request({"body": form}, {"x-catsdogs-boundary": "x"}, RELEASE).pictures == [b"jpeg"]
    assert read_request({"body": form}, {}, RELEASE).pictures == [form]
    for twice in (form[:-4] + b"\r\n" + form, b"--x--\r\n"):
        with pytest.raises(Problem) as raised:
            read_request({"body": twice}, {"x-catsdogs-boundary": "x"}, RELEASE)
        assert (raised.value.status, raised.value.code) == (400, "no_image")


def test_a_protocol_says_how_the_body_is_read_and_the_answer_worded() -> None:
    by_v1 = read_request({"body": bytearray(V1)}, {"x-catsdogs-protocol": "v1"}, RELEASE)
    by_v2 = read_request({"body": bytearray(V2)}, {"x-catsdogs-protocol": "v2"}, RELEASE)
    assert by_v1.pictures == by_v2.pictures == [b"jpeg", b"jpeg"]
    assert list(by_v1.word([ANSWER, ANSWER])) == ["predictions"]
    assert by_v2.word([ANSWER, ANSWER])["outputs"][0]["data"] == ["cat", "cat"]


def test_top_k_is_read_and_a_tensor_has_all_classes_whatever_it_says() -> None:
    headers = {"x-top-k": "1"}
    assert read_request({"body": b"jpeg"}, headers, RELEASE).top_k == 1
    assert read_request({"body": V1}, {**headers, "x-catsdogs-protocol": "v1"}, RELEASE).top_k == 1
    assert read_request({"body": V2}, {**headers, "x-catsdogs-protocol": "v2"}, RELEASE).top_k == 2


@pytest.mark.parametrize(("text", "number"), [("", None), ("1", 1), ("05", 5), ("9999", 9999)])
def test_top_k_is_a_whole_number_from_1_on(text: str, number: int | None) -> None:
    assert read_top_k({"x-top-k": text}) == number


def test_without_the_header_there_is_no_top_k() -> None:
    assert read_top_k({}) is None


@pytest.mark.parametrize("text", ["0", "0000", "10000", *NUMBERS])
def test_any_other_top_k_is_refused(text: str) -> None:
    with pytest.raises(Problem, match="top_k must be a whole number") as raised:
        read_top_k({"x-top-k": text})
    assert (raised.value.status, raised.value.code) == (400, "bad_request")


def test_a_request_that_waited_for_longer_than_its_client_does_is_refused() -> None:
    headers = {"x-timeout-ms": "250", "x-request-start": "1000000"}
    check_deadline(headers, 1000.249)
    check_deadline(headers, 1000.25)
    with pytest.raises(Problem, match="250 ms") as raised:
        check_deadline(headers, 1000.251)
    assert (raised.value.status, raised.value.code) == (504, "deadline")


def test_the_deadline_comes_before_the_body_is_looked_at() -> None:
    headers = {"x-timeout-ms": "0", "x-request-start": str(int(1000 * time.time()) - 5000)}
    with pytest.raises(Problem) as raised:
        read_request({}, headers, RELEASE)
    assert raised.value.code == "deadline"


@pytest.mark.parametrize("started", [None, "", "x", "-1", "²", "9" * 5000])
def test_without_a_start_there_is_no_deadline(started: str | None) -> None:
    headers = {"x-timeout-ms": "0", **({} if started is None else {"x-request-start": started})}
    request = read_request({"body": b"jpeg"}, headers, RELEASE)
    assert request.pictures == [b"jpeg"]


@pytest.mark.parametrize("text", ["1" * 10, *NUMBERS])
def test_a_time_out_that_is_no_number_is_refused(text: str) -> None:
    with pytest.raises(Problem, match="X-Timeout-Ms must be a whole number") as raised:
        check_deadline({"x-timeout-ms": text, "x-request-start": "1000000"}, 1000)
    assert (raised.value.status, raised.value.code) == (400, "bad_request")
