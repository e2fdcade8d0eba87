"""release.json, right and as nobody should write it: one sentence says what is wrong."""

import json
from pathlib import Path
from typing import Any

import pytest

from handler.files import UserError
from handler.release import MAX_BYTES, MAX_CLASSES, read_release

RIGHT: dict[str, Any] = {
    "name": "pets",
    "version": "1.0.0",
    "classes": ["cat", "dog"],
    "input": {"size": 176, "resize": "crop"},
    "files": {"model.safetensors": "0" * 64, "model.onnx": "f" * 64},
    "golden_logits": [[1, -1.5]] * 4,
    "metrics": {"accuracy": 0.9},
}
DIGEST = "0" * 64


def refusal(folder: Path, text: str | bytes) -> str:
    (folder / "release.json").write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(UserError) as raised:
        read_release(folder)
    assert "\n" not in str(raised.value)
    return str(raised.value)


def test_a_right_one_is_read_whatever_else_it_says(tmp_path: Path) -> None:
    (tmp_path / "release.json").write_text(json.dumps(RIGHT))
    release = read_release(tmp_path)
    assert (release.name, release.classes, release.input.size) == ("pets", ["cat", "dog"], 176)
    assert release.weights_sha256 == DIGEST
    assert release.names == {}
    assert (release.precision, list(release.golden_logits)) == ("fp32", ["fp32"])


def test_int8_is_known_where_its_verdict_is_pass(tmp_path: Path) -> None:
    int8 = {"verdict": "PASS", "golden_logits": [[2, -2.5]] * 4}
    (tmp_path / "release.json").write_text(json.dumps({**RIGHT, "precision": "int8", "precisions": {"int8": int8}}))
    release = read_release(tmp_path)
    assert (release.precision, release.golden_logits["int8"]) == ("int8", [[2, -2.5]] * 4)


@pytest.mark.parametrize("verdict", ["BREACH", "INCONCLUSIVE"])
def test_int8_that_was_refused_cannot_be_recommended(tmp_path: Path, verdict: str) -> None:
    refused = {"precisions": {"int8": {"verdict": verdict}}}
    assert "precision must" in refusal(tmp_path, json.dumps({**RIGHT, **refused, "precision": "int8"}))
    (tmp_path / "release.json").write_text(json.dumps({**RIGHT, **refused}))
    assert read_release(tmp_path).golden_logits.keys() == {"fp32"}


# Member and part of the reason -> values that are refused for it.
WRONG: list[tuple[str, str, list[object]]] = [
    ("classes", "classes must", [None, "cat", [], ["cat"], ["cat", "cat"], ["cat", ""], {"cat": 0}]),
    (
        "classes",
        "classes must",
        [["cat", 1], ["cat", None], ["cat", "d\nog"], [str(n) for n in range(MAX_CLASSES + 1)]],
    ),
    ("input", "input.size", [{"size": size} for size in (-1, 0, 15, 1025, 176.0, "176", True, None, 10**30)]),
    ("input", "input.size", [None, [], 176, {}]),
    ("input", "input.resize", [{"size": 176, "resize": value} for value in ("fit", None, ["crop"])]),
    ("files", "files must", [None, [], {}, {"model.onnx": DIGEST}, "model.safetensors"]),
    ("files", "files must", [{"model.safetensors": value} for value in ("0" * 63, "g" * 64, DIGEST + "\n", 1)]),
    (
        "files",
        "files must",
        [
            {"model.safetensors": DIGEST, name: DIGEST}
            for name in ("../model.onnx", "a/b", "a\nb", "", ".hidden", "a\n")
        ],
    ),
    ("golden_logits", "golden_logits must", [None, [], [[1, 2]] * 3, [[1, 2]] * 5, [[1]] * 4, [[1, "1"]] * 4]),
    (
        "golden_logits",
        "golden_logits must",
        [[[1, value]] * 4 for value in (None, True, [1], float("nan"), float("inf"), 10**400)],
    ),
    ("precisions", "precisions must", [None, [], {"int8": "PASS"}]),
    (
        "precisions",
        "precisions.int8.golden_logits must",
        [{"int8": {"verdict": "PASS", "golden_logits": value}} for value in (None, [], [[1, 2]] * 3, [[1, "1"]] * 4)],
    ),
    ("precision", "precision must", [None, 8, "fp16", "int8"]),
    ("name", "must begin with a letter", [None, 1, "", "../x", "a\nb", 'a"b']),
    ("version", "must begin with a letter", [None, 1.0, "", "1/2"]),
    ("names", "names must", [None, [], {"fox": "Fox"}, {"cat": ""}, {"cat": 1}, {"cat": "a\nb"}]),
]


@pytest.mark.parametrize(
    ("member", "reason", "value"), [(member, reason, value) for member, reason, values in WRONG for value in values]
)
def test_a_member_that_is_not_as_it_must_be_is_named(tmp_path: Path, member: str, reason: str, value: object) -> None:
    assert reason in refusal(tmp_path, json.dumps({**RIGHT, member: value}))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        "1",
        "[" * 100_000,
        '{"name":' * 100_000,
        "1" * 100_000,
        b"\xff\xfe\xff",
        b" " * (MAX_BYTES + 1),
    ],
    ids=lambda text: str(text[:8]),
)
def test_what_is_no_such_document_is_refused(tmp_path: Path, text: str | bytes) -> None:
    assert "is not a release of catsdogs: " in refusal(tmp_path, text)
