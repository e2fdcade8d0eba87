"""Forms, as clients send them and as they do not."""

import httpx
import pytest

from handler.form import MAX_PARTS, Part, form_parts
from handler.problem import Problem
from tests import zoo

HEAD = b'Content-Disposition: form-data; name="file"; filename="a.jpg"\r\n'


def test_what_a_client_sends_comes_out_byte_for_byte() -> None:
    bodies = [zoo.CAT.read_bytes(), b"", b"\r\n--", b"\r\n\r\n", b"--x--", bytes(range(256)) * 40]
    request = httpx.Request("POST", "http://x", files=[("f", ("a.jpg", body)) for body in bodies])
    boundary = request.headers["content-type"].partition("boundary=")[2]
    assert form_parts(request.read(), boundary) == [Part("f", body, is_file=True) for body in bodies]


@pytest.mark.parametrize(
    ("body", "contents"),
    [
        (b"--x\r\n\r\na\r\n--x--", [b"a"]),
        (b"--x\r\n" + HEAD + b"\r\n\r\n--x--\r\n", [b""]),
        (b"before\r\n--x \t\r\n" + HEAD + b"\r\na\r\n--x--\r\nafter\r\n--x\r\n\r\nb\r\n--x--", [b"a"]),
        (b"--x\r\n\r\n\r\n--xy\r\n--x y\r\n-x\r\n--x--", [b"\r\n--xy\r\n--x y\r\n-x"]),
        (b"--x--\r\n", []),
    ],
)
def test_a_form_ends_at_its_last_boundary_and_only_boundaries_part_it(body: bytes, contents: list[bytes]) -> None:
    assert [part.content for part in form_parts(body, "x")] == contents


@pytest.mark.parametrize("boundary", ["(.*)", "x" * 70, "é", "a+b?c", "'"])
def test_a_boundary_is_taken_literally(boundary: str) -> None:
    mark = boundary.encode("latin-1")
    assert form_parts(b"--" + mark + b"\r\n\r\na\r\n--" + mark + b"--", boundary) == [Part("", b"a")]


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"no form", b"--x", b"--x\r\n", b"--y\r\n\r\na\r\n--y--", b"--x\r\n" + HEAD + b"--x--"),
        *(b"--x\r\n" + HEAD + b"\r\na", b"--x\r\n" + HEAD + b"\r\na\r\n--x", b"--x\n\na\n--x--"),
    ],
)
def test_what_is_no_form_or_is_cut_off_is_the_clients_problem(body: bytes) -> None:
    with pytest.raises(Problem, match="The form cannot be read") as raised:
        form_parts(body, "x")
    assert (raised.value.status, raised.value.code) == (400, "no_image")


@pytest.mark.parametrize(
    ("head", "name", "is_file"),
    [
        (b'form-data; name="top_k"', "top_k", False),
        (b"form-data; name=top_k", "top_k", False),
        (b'form-data; name="a"; filename="b c.jpg"', "a", True),
        (b'form-data; filename="name=x"; name="a"', "a", True),
        (b"form-data; name=\"a\"; filename*=UTF-8''b.jpg", "a", True),
        (b'form-data; name="a"; filename=""', "a", True),
        (b'form-data; name="a"\r\nContent-Type: image/jpeg', "a", True),
        (b'form-data; name="a"\r\ncontent-type: application/octet-stream', "a", True),
        (b'form-data; name="a"\r\nContent-Type: text/plain; charset=utf-8', "a", False),
        ('form-data; name="é"'.encode(), "é", False),
        (b"form-data", "", False),
    ],
)
def test_a_part_is_a_file_by_its_file_name_or_its_type(head: bytes, name: str, is_file: bool) -> None:
    body = b"--x\r\nContent-Disposition: " + head + b"\r\n\r\ncontent\r\n--x--"
    assert form_parts(body, "x") == [Part(name, b"content", is_file)]


def test_a_form_of_more_parts_than_any_has_is_refused() -> None:
    most = b"--x\r\n\r\n\r\n" * MAX_PARTS
    assert len(form_parts(most + b"--x--", "x")) == MAX_PARTS
    with pytest.raises(Problem, match=f"more than {MAX_PARTS} parts"):
        form_parts(most * 1000 + b"--x--", "x")
