"""Both protocols' shapes: those that are read, and the one answer to all others."""

import base64
import json
import random
from collections.abc import Callable
from typing import Any

import pytest

from handler.kserve import MAX_ID, MAX_INSTANCES, MAX_RANK, OUTPUTS, Asked, read_v1, read_v2, write_v1, write_v2
from handler.preprocess import InputSpec
from handler.problem import Problem
from handler.release import Release

PICTURE = bytes(range(256))
TEXT = base64.b64encode(PICTURE).decode()
RELEASE = Release("pets", "2.1.0", ["cat", "dog", "owl"], InputSpec(128), "f" * 64, {}, {})
LEAVES = [None, True, 0, -1, 1.5, 10**400, "", "x", TEXT, "\ud800", "\0", float("nan"), float("inf")]
WORDS = ["instances", "inputs", "data", "b64", "image", "shape", "datatype", "name", "id", "parameters", "BYTES", "x"]


def v1(*instances: object) -> bytes:
    return json.dumps({"instances": instances}).encode()


def v2(data: object, /, **changes: object) -> bytes:
    """A request with one input; `changes` are to that input, and None leaves the member out."""
    count = len(data) if isinstance(data, list) else 1
    tensor = {"name": "image", "datatype": "BYTES", "shape": [count], "data": data, **changes}
    return json.dumps({"inputs": [{key: value for key, value in tensor.items() if value is not None}]}).encode()


def refusal(read: Callable[[bytes], object], body: bytes) -> str:
    with pytest.raises(Problem) as raised:
        read(body)
    assert (raised.value.status, raised.value.code) == (400, "bad_json")
    assert raised.value.detail.endswith(".")
    return raised.value.detail


@pytest.mark.parametrize(
    "instance",
    [
        TEXT,
        {"b64": TEXT},
        {"data": TEXT},
        {"image": TEXT},
        {"image_bytes": TEXT},
        {"image": {"b64": TEXT}},
        {"data": {"b64": TEXT}},
        {"image_bytes": {"b64": TEXT}},
        {"b64": TEXT, "key": "1", "label": 3},
    ],
)
def test_an_instance_of_v1_is_base64_or_holds_it_under_a_usual_name(instance: object) -> None:
    assert read_v1(v1(instance)) == [PICTURE]


def test_instances_stay_in_order() -> None:
    pictures = [bytes([number]) * 3 for number in range(MAX_INSTANCES)]
    texts = [base64.b64encode(picture).decode() for picture in pictures]
    assert read_v1(v1(*texts)) == pictures
    assert read_v2(v2(texts)).pictures == pictures


def test_other_members_of_the_document_are_passed_over() -> None:
    body = {"signature_name": "serving_default", "instances": [TEXT], "parameters": {"a": [1]}}
    assert read_v1(json.dumps(body).encode()) == [PICTURE]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_json_is_read_in_each_of_its_encodings(encoding: str) -> None:
    assert read_v1(v1(TEXT).decode().encode(encoding)) == [PICTURE]


@pytest.mark.parametrize(
    ("data", "shape"),
    [
        ([TEXT], [1]),
        ([TEXT, TEXT], [2]),
        ([TEXT, TEXT], [2, 1]),
        ([TEXT, TEXT], [1, 2]),
        ([[TEXT], [TEXT]], [2, 1]),
        ([[TEXT, TEXT]], [1, 2]),
        ([{"b64": TEXT}], [1]),
        ([TEXT], [1, 1, 1, 1]),
    ],
)
def test_the_input_of_v2_is_flat_or_nested_as_its_shape_is(data: list[object], shape: list[int]) -> None:
    request = read_v2(v2(data, shape=shape))
    assert request.pictures == [PICTURE] * (2 if 2 in shape else 1)
    assert request.id is None


def test_the_id_of_v2_comes_back() -> None:
    longest = "i" * MAX_ID
    document = {**json.loads(v2([TEXT])), "id": longest}
    assert write_v2([], read_v2(json.dumps(document).encode()), RELEASE)["id"] == longest


@pytest.mark.parametrize("name", [1, [], {}, False, "i" * (MAX_ID + 1)])
def test_an_id_of_v2_that_is_no_short_text_is_refused(name: object) -> None:
    document = {**json.loads(v2([TEXT])), "id": name}
    assert "id must be text" in refusal(read_v2, json.dumps(document).encode())


@pytest.mark.parametrize("read", [read_v1, read_v2])
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"\xff\xfe\xff",
        b"\x89PNG\r\n",
        b"null",
        b"[]",
        b'"instances"',
        b"NaN",
        b"{}",
        b"[" * 200_000,
        b'{"a":' * 200_000,
        b'{"instances":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"inputs":[' + b"[" * 100_000 + b"]" * 100_000 + b"]}",
        b"1" * 100_000,
        b'{"instances": ' + b"9" * 100_000 + b"}",
        b'{"instances": 1e999999}',
    ],
    ids=lambda body: body[:20],
)
def test_what_is_no_such_document_is_refused(read: Callable[[bytes], object], body: bytes) -> None:
    assert "must" in refusal(read, body)


@pytest.mark.parametrize(
    "instance",
    [
        None,
        True,
        1,
        1.5,
        [],
        [TEXT],
        [[1, 2], [3, 4]],
        {},
        {"picture": TEXT},
        {"b64": None},
        {"b64": 1},
        {"b64": [TEXT]},
        {"b64": TEXT, "data": TEXT},
        {"image": {"image": {"b64": TEXT}}},
        {"image": {"b64": TEXT, "data": TEXT}},
    ],
)
def test_an_instance_without_exactly_one_picture_is_refused_by_its_number(instance: object) -> None:
    assert "Instance 1 holds no picture" in refusal(read_v1, v1(TEXT, instance))
    # In a tensor a list is a dimension.
    if not isinstance(instance, list):
        assert "Instance 1 holds no picture" in refusal(read_v2, v2([TEXT, instance]))


@pytest.mark.parametrize(
    "text",
    [
        "not base64!",
        "abc",
        TEXT[:-1],
        f"data:image/jpeg,{TEXT}",
        f"data:image/jpeg;base64,{TEXT}!",
        TEXT.replace("+", "-").replace("/", "_"),
        f"{TEXT}é",
        "\ud800",
        "=",
        "AAAA=AAA",
    ],
)
def test_what_is_not_strictly_base64_is_refused_by_its_number(text: str) -> None:
    assert "Instance 1 is not base64" in refusal(read_v1, v1(TEXT, text))
    assert "Instance 1 is not base64" in refusal(read_v2, v2([TEXT, {"b64": text}]))


@pytest.mark.parametrize(
    "text",
    [
        f"{TEXT[:76]}\n{TEXT[76:]}",
        f"{TEXT[:76]}\r\n{TEXT[76:]}\r\n",
        f" \t{TEXT} ",
        f"data:image/jpeg;base64,{TEXT}",
        f"data:;base64,{TEXT[:76]}\n{TEXT[76:]}",
        f"Data:image/svg+xml;charset=utf-8;BASE64,{TEXT}",
    ],
)
def test_base64_may_have_line_breaks_and_be_a_data_url(text: str) -> None:
    assert read_v1(v1(text, {"b64": text})) == [PICTURE] * 2
    assert read_v2(v2([text])).pictures == [PICTURE]


@pytest.mark.parametrize("name", ["x", "images", "", 1, None])
def test_an_input_of_another_name_is_refused_by_the_right_one(name: object) -> None:
    assert '"image"' in refusal(read_v2, v2([TEXT], name=name))


@pytest.mark.parametrize(
    ("outputs", "names"),
    [
        ([], OUTPUTS),
        ([{"name": "label"}], ("label",)),
        (
            [{"name": "probabilities", "parameters": {"binary_data": True}}, {"name": "label"}],
            ("probabilities", "label"),
        ),
        ([{"name": "label"}, {"name": "label"}], ("label",)),
    ],
)
def test_the_outputs_that_are_asked_for_are_answered_and_no_others(
    outputs: list[object], names: tuple[str, ...]
) -> None:
    document = {**json.loads(v2([TEXT])), "outputs": outputs}
    written = write_v2(answers()[:1], read_v2(json.dumps(document).encode()), RELEASE)
    assert tuple(output["name"] for output in written["outputs"]) == names


@pytest.mark.parametrize(
    "outputs", [{}, "label", 1, ["label"], [{}], [{"name": "logits"}], [{"name": ["label"]}], [None]]
)
def test_an_unknown_output_is_refused_by_the_right_names(outputs: object) -> None:
    document = {**json.loads(v2([TEXT])), "outputs": outputs}
    assert "label, probability, probabilities" in refusal(read_v2, json.dumps(document).encode())


def test_a_binary_tensor_is_refused_by_its_name() -> None:
    tensor = {"name": "image", "datatype": "BYTES", "shape": [1], "parameters": {"binary_data_size": len(PICTURE) + 4}}
    body = json.dumps({"inputs": [tensor]}).encode()
    for sent in (body, body + len(PICTURE).to_bytes(4, "little") + PICTURE):
        assert "Binary tensors" in refusal(read_v2, sent)


@pytest.mark.parametrize("read", [read_v1, read_v2])
def test_no_instance_and_too_many_are_refused(read: Callable[[bytes], object]) -> None:
    def make(count: int) -> bytes:
        return v1(*[TEXT] * count) if read is read_v1 else v2([TEXT] * count)

    assert "no instance" in refusal(read, make(0))
    assert f"{MAX_INSTANCES + 1} instances" in refusal(read, make(MAX_INSTANCES + 1))
    assert read(make(MAX_INSTANCES))


@pytest.mark.parametrize(
    "changes",
    [
        {"datatype": None},
        {"datatype": "UINT8"},
        {"datatype": "bytes"},
        {"datatype": 1},
        {"datatype": ["BYTES"]},
        {"data": TEXT},
        {"data": {"b64": TEXT}},
        {"data": 1},
        {"shape": None},
        {"shape": 1},
        {"shape": "1"},
        {"shape": [2]},
        {"shape": [0]},
        {"shape": [-1]},
        {"shape": [-1, -1]},
        {"shape": [1.0]},
        {"shape": [True]},
        {"shape": ["1"]},
        {"shape": [[1]]},
        {"shape": [10**300]},
        {"shape": [1] * (MAX_RANK + 1)},
    ],
)
def test_an_input_of_v2_of_another_type_or_shape_is_refused(changes: dict[str, object]) -> None:
    assert "must be" in refusal(read_v2, v2([TEXT], **changes))


def test_a_shape_of_a_million_sides_is_refused_without_multiplying_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("math.prod", lambda sides: pytest.fail("the product of a million sides takes minutes"))
    assert "shape" in refusal(read_v2, v2([TEXT], shape=[9] * 1_000_000))


def test_data_nested_deeper_than_rows_is_refused() -> None:
    assert "nested deeper" in refusal(read_v2, v2([[[TEXT]]], shape=[1, 1, 1]))


@pytest.mark.parametrize("inputs", [None, {}, "x", [], [None], ["x"], [[]]])
def test_anything_but_one_input_is_refused(inputs: object) -> None:
    assert "one input" in refusal(read_v2, json.dumps({"inputs": inputs}).encode())
    tensor = json.loads(v2([TEXT]))["inputs"][0]
    assert "one input" in refusal(read_v2, json.dumps({"inputs": [tensor, tensor]}).encode())


def anything(chance: random.Random, depth: int = 5) -> Any:
    kind = chance.random()
    if depth == 0 or kind < 0.4:
        return chance.choice(LEAVES)
    if kind < 0.7:
        return [anything(chance, depth - 1) for _ in range(chance.randrange(4))]
    return {chance.choice(WORDS): anything(chance, depth - 1) for _ in range(chance.randrange(5))}


def changed(document: Any, chance: random.Random) -> Any:
    """A right document with one part of it, at any depth, replaced by anything."""
    if isinstance(document, dict) and document and chance.random() < 0.8:
        key = chance.choice(sorted(document))
        return {**document, key: changed(document[key], chance)}
    if isinstance(document, list) and document and chance.random() < 0.8:
        index = chance.randrange(len(document))
        return [*document[:index], changed(document[index], chance), *document[index + 1 :]]
    return anything(chance)


@pytest.mark.parametrize("read", [read_v1, read_v2])
def test_whatever_json_comes_it_is_pictures_or_a_problem(read: Callable[[bytes], Any]) -> None:
    """4000 documents, half of them right but for one part; anything else raised would fail a whole batch."""
    chance = random.Random(7)
    right = json.loads(v1({"b64": TEXT}, TEXT) if read is read_v1 else v2([TEXT, {"b64": TEXT}], parameters={"a": 1}))
    right.update({"parameters": {"a": 1, "b": [2]}, "id": "one"})
    problems, pictures = [], []
    for number in range(4000):
        document = changed(right, chance) if number % 2 else anything(chance)
        try:
            result = read(json.dumps(document).encode())
        except Problem as problem:
            problems.append((problem.status, problem.code))
        else:
            pictures.append(result if read is read_v1 else result.pictures)
    assert set(problems) == {(400, "bad_json")}
    assert all(batch and all(type(picture) is bytes for picture in batch) for batch in pictures)
    assert min(len(problems), len(pictures)) > 50


@pytest.mark.parametrize("read", [read_v1, read_v2])
def test_whatever_bytes_come_it_is_pictures_or_a_problem(read: Callable[[bytes], Any]) -> None:
    chance = random.Random(11)
    right = v1({"b64": TEXT}) if read is read_v1 else v2([TEXT])
    problems = []
    for _ in range(2000):
        body = bytearray(right)
        for _ in range(chance.randrange(1, 4)):
            body[chance.randrange(len(body))] = chance.randrange(256)
        try:
            read(bytes(body))
        except Problem as problem:
            problems.append((problem.status, problem.code))
    assert set(problems) == {(400, "bad_json")}
    assert len(problems) > 500


def answers() -> list[dict[str, Any]]:
    rows = [[0.7, 0.2, 0.1], [0.0, 0.25, 0.75]]
    return [
        {"label": "cat", "probability": 0.7, "probabilities": dict(zip(RELEASE.classes, rows[0], strict=True))},
        # As top_k leaves it: most probable first, and without the others.
        {"label": "owl", "probability": 0.75, "probabilities": {"owl": 0.75, "dog": 0.25}},
    ]


def test_v1_answers_are_the_apis_own_in_a_list() -> None:
    assert write_v1(answers()) == {"predictions": answers()}


def test_v2_answers_are_tensors_in_the_order_of_the_classes() -> None:
    document = write_v2(answers(), Asked([]), RELEASE)
    assert "id" not in document
    assert (document["model_name"], document["model_version"]) == ("pets", "2.1.0")
    assert [(output["name"], output["shape"], output["data"]) for output in document["outputs"]] == [
        ("label", [2], ["cat", "owl"]),
        ("probability", [2], [0.7, 0.75]),
        ("probabilities", [2, 3], [0.7, 0.2, 0.1, 0.0, 0.25, 0.75]),
    ]
    assert document["outputs"][2]["parameters"] == {"classes": "cat,dog,owl"}


@pytest.mark.parametrize("read", [read_v1, read_v2])
def test_a_document_of_millions_of_parts_is_refused_before_it_is_read(
    read: Callable[[bytes], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Parsed, it would take thirty times its bytes."""
    monkeypatch.setattr(json, "loads", lambda body: pytest.fail("it was read"))
    for part in (b"{},", b"[],", b"[", b"0,"):
        assert "too many parts" in refusal(read, b'{"instances":[' + part * 1_000_000 + b"0]}")
