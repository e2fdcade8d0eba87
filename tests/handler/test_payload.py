import base64
import json
import time
from typing import Any

import pytest

from handler.form import Part
from handler.payload import check_deadline, choose_picture, read_request, read_top_k, row_parts
from handler.preprocess import InputSpec
from handler.problem import Problem
from handler.release import Release
from tests import zoo

RELEASE = Release("catsdogs", "1.0.0", ["cat", "dog"], InputSpec(128), "f" * 64, {}, {})
TEXT = base64.b64encode(b"jpeg").decode()
V1 = json.dumps({"instances": [TEXT, TEXT]}).encode()
V2 = json.dumps({"inputs": [{"name": "image", "datatype": "BYTES", "shape": [2], "data": [TEXT, TEXT]}]}).encode()
ANSWER: dict[str, Any] = {"label": "cat", "probability": 0.9, "probabilities": {"cat": 0.9, "dog": 0.1}}
NUMBERS = ["-1", "+1", " 1", "1.0", "1e3", "0x1", "x", "nan", "٣", "²", "1,2", "9" * 5000]


PICTURE = zoo.encode(zoo.photo().resize((16, 16)), "PNG")


def form(*parts: tuple[str, bytes]) -> bytes:
    """Each part by what follows its `form-data`, and its content."""
    return (
        b"".join(
            b"--x\r\nContent-Disposition: form-data" + head.encode() + b"\r\n\r\n" + content + b"\r\n"
            for head, content in parts
        )
        + b"--x--\r\n"
    )


def ask(row: dict[str, object], **headers: str) -> tuple[list[bytes], int | None]:
    request = read_request(row, {name.replace("_", "-"): value for name, value in headers.items()}, RELEASE)
    return request.pictures, request.top_k


@pytest.mark.parametrize("field", ["body", "data", "file", "any-name"])
def test_one_field_of_any_name_is_the_picture(field: str) -> None:
    assert ask({field: bytearray(b"jpeg")}) == ([b"jpeg"], None)


def test_a_body_is_taken_out_of_its_row() -> None:
    body = bytearray(PICTURE)
    ask({"body": body})
    assert body == b""


@pytest.mark.parametrize(
    ("row", "code"),
    [
        ({}, "no_image"),
        ({"body": b""}, "no_image"),
        ({"a": PICTURE, "b": PICTURE}, "no_image"),
        ({"a": b"1", "b": b"2"}, "no_image"),
        ({"body": {"instances": []}}, "bad_json"),
        ({"body": "text"}, "bad_json"),
    ],
)
def test_anything_else_is_a_problem_of_the_client(row: dict[str, object], code: str) -> None:
    with pytest.raises(Problem) as raised:
        ask(row)
    assert (raised.value.status, raised.value.code) == (400, code)
    assert raised.value.detail.endswith(".")


def test_of_a_grpc_requests_fields_one_is_the_picture_and_top_k_is_a_parameter() -> None:
    assert ask({"data": bytearray(PICTURE), "top_k": bytearray(b"1"), "comment": b"of Sunday"}) == ([PICTURE], 1)


def test_the_header_goes_before_the_field() -> None:
    assert ask({"data": PICTURE, "top_k": b"1"}, x_top_k="2") == ([PICTURE], 2)


def test_a_top_k_field_that_is_no_number_is_refused_as_the_header_is() -> None:
    with pytest.raises(Problem, match="top_k must be") as raised:
        ask({"data": PICTURE, "top_k": b"many"})
    assert (raised.value.status, raised.value.code) == (400, "bad_request")


FILE = ('; name="file"; filename="a.png"', PICTURE)
TOP_K = ('; name="top_k"', b"1")


@pytest.mark.parametrize(
    ("parts", "top_k"),
    [
        ([FILE], None),
        ([FILE, TOP_K], 1),
        ([TOP_K, FILE], 1),
        ([('; name="comment"', b"of Sunday, at the zoo"), FILE], None),
        ([('; name="image"', PICTURE)], None),
        ([('; name="image"', PICTURE), TOP_K], 1),
        ([('; name="image"\r\nContent-Type: image/png', PICTURE), TOP_K], 1),
        ([FILE, ('; name="second"; filename=""', b"")], None),
        ([('; name="image"', base64.b64encode(PICTURE)), TOP_K], 1),
    ],
)
def test_a_form_has_one_file_and_may_have_fields(parts: list[tuple[str, bytes]], top_k: int | None) -> None:
    assert ask({"body": form(*parts)}, x_catsdogs_boundary="x") == ([PICTURE], top_k)


@pytest.mark.parametrize(
    ("parts", "reason"),
    [
        ([FILE, FILE], "2 files"),
        ([FILE, ('; name="b"; filename="b.txt"', b"text")], "2 files"),
        ([FILE, ('; name="b"', PICTURE)], "2 files"),
        ([('; name="a"', b"1"), ('; name="b"', b"2")], "no file"),
        ([('; name="second"; filename=""', b"")], "no file"),
        ([], "no file"),
    ],
)
def test_a_form_of_no_file_or_of_several_is_refused_with_the_reason(
    parts: list[tuple[str, bytes]], reason: str
) -> None:
    with pytest.raises(Problem, match=reason) as raised:
        ask({"body": form(*parts)}, x_catsdogs_boundary="x")
    assert (raised.value.status, raised.value.code) == (400, "no_image")


def test_a_file_that_is_called_top_k_is_a_file() -> None:
    parts = [Part("top_k", PICTURE, is_file=True), Part("comment", b"text")]
    assert choose_picture(parts) == (PICTURE, "")


def test_fields_without_content_do_not_count() -> None:
    assert row_parts({"a": b"", "b": bytearray(b"x")}) == [Part("b", b"x")]


LINES = base64.encodebytes(PICTURE)


@pytest.mark.parametrize(
    "text",
    [
        base64.b64encode(PICTURE),
        LINES,
        LINES.replace(b"\n", b"\r\n"),
        b"\n " + LINES + b"\n",
        b"data:image/png;base64," + base64.b64encode(PICTURE),
        b"data:image/png;name=a.png;base64," + LINES,
        b"DATA:;base64," + base64.b64encode(PICTURE),
        json.dumps(base64.b64encode(PICTURE).decode()).encode(),
    ],
)
def test_a_picture_in_base64_is_taken_as_one(text: bytes) -> None:
    request = read_request({"body": text}, {}, RELEASE)
    assert request.pictures == [PICTURE]
    assert request.word([ANSWER]) == ANSWER


@pytest.mark.parametrize(
    "text", [b"hello, world", base64.b64encode(b"no picture " * 9), b"data:image/png,abc", b"YWJj"]
)
def test_text_that_is_no_picture_in_base64_stays_what_it_is(text: bytes) -> None:
    assert ask({"body": text}) == ([text], None)


def test_kserves_json_is_answered_as_a_list_where_no_protocol_is_named() -> None:
    request = read_request({"body": bytearray(V1)}, {"x-top-k": "1"}, RELEASE)
    assert (request.pictures, request.top_k) == ([b"jpeg", b"jpeg"], 1)
    assert request.word([ANSWER, ANSWER]) == [ANSWER, ANSWER]


@pytest.mark.parametrize("headers", [{}, {"x-catsdogs-protocol": ""}, {"x-catsdogs-protocol": "v3"}])
def test_without_a_protocol_the_body_is_the_picture_and_the_answer_as_it_is(headers: dict[str, str]) -> None:
    request = read_request({"body": bytearray(PICTURE)}, headers, RELEASE)
    assert request.pictures == [PICTURE]
    assert request.word([ANSWER]) == ANSWER


def test_a_form_is_taken_apart_where_the_gateway_says_that_it_is_one() -> None:
    body = form(FILE)
    assert ask({"body": body}, x_catsdogs_boundary="x") == ([PICTURE], None)
    assert ask({"body": body}) == ([body], None)


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
    assert read_top_k(text) == number


@pytest.mark.parametrize("text", ["0", "0000", "10000", *NUMBERS])
def test_any_other_top_k_is_refused(text: str) -> None:
    with pytest.raises(Problem, match="top_k must be a whole number") as raised:
        read_top_k(text)
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
