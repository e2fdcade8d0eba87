import pytest

from handler.payload import image_bytes
from handler.problem import Problem


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
