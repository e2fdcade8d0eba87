"""Forms, as clients send them and as they do not."""

import httpx
import pytest

from handler.form import form_parts
from handler.problem import Problem
from tests import zoo

HEAD = b'Content-Disposition: form-data; name="file"; filename="a.jpg"\r\n'


def test_what_a_client_sends_comes_out_byte_for_byte() -> None:
    bodies = [zoo.CAT.read_bytes(), b"", b"\r\n--", b"\r\n\r\n", b"--x--", bytes(range(256)) * 40]
    request = httpx.Request("POST", "http://x", files=[("f", ("a.jpg", body)) for body in bodies])
    boundary = request.headers["content-type"].partition("boundary=")[2]
    assert form_parts(request.read(), boundary) == bodies


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
    assert form_parts(body, "x") == contents


@pytest.mark.parametrize("boundary", ["(.*)", "x" * 70, "é", "a+b?c", "'"])
def test_a_boundary_is_taken_literally(boundary: str) -> None:
    mark = boundary.encode("latin-1")
    assert form_parts(b"--" + mark + b"\r\n\r\na\r\n--" + mark + b"--", boundary) == [b"a"]


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
