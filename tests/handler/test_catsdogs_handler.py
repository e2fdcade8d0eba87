import inspect
import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import handler.catsdogs_handler
from handler.catsdogs_handler import CatsDogsHandler
from handler.heartbeat import DIRECTORY_VARIABLE
from handler.preprocess import Pixels
from tests import zoo

REST = {"explain": "False", "X-Request-Id": "request-0001"}


class Context:
    """The parts of TorchServe's context that a handler meets, recording what is set."""

    def __init__(self, folder: Path, headers: list[dict[str, str]]) -> None:
        self.system_properties = {"model_dir": str(folder), "batch_size": 8}
        self.headers = headers
        self.status = dict.fromkeys(range(len(headers)), 200)
        self.response_headers: list[dict[str, str]] = [{} for _ in headers]

    def get_all_request_header(self, index: int) -> dict[str, str]:
        return self.headers[index]

    def set_response_status(self, code: int, phrase: str, idx: int) -> None:
        self.status[idx] = code

    def set_response_header(self, index: int, key: str, value: str) -> None:
        self.response_headers[index][key] = value

    def set_response_content_type(self, index: int, value: str) -> None:
        self.set_response_header(index, "content-type", value)


@pytest.fixture(scope="module")
def ready(unpacked: Path) -> CatsDogsHandler:
    made = CatsDogsHandler()
    made.initialize(Context(unpacked, []))
    return made


def test_the_module_defines_exactly_one_class() -> None:
    module = handler.catsdogs_handler
    classes = [c for _, c in inspect.getmembers(module, inspect.isclass) if c.__module__ == module.__name__]
    assert classes == [CatsDogsHandler]


def test_bad_rows_get_their_own_status_and_good_neighbours_their_answers(
    ready: CatsDogsHandler, unpacked: Path
) -> None:
    bad = zoo.refused()
    rows: list[dict[str, object]] = []
    expected = []
    for body, status, _ in bad.values():
        rows += [{"body": bytearray(body)}, {"body": bytearray(zoo.CAT.read_bytes())}]
        expected += [status, 200]
    context = Context(unpacked, [REST] * len(rows))
    answers = [json.loads(body) for body in ready.handle(rows, context)]
    assert list(context.status.values()) == expected
    assert [answer["code"] for answer in answers[::2]] == [code for _, _, code in bad.values()]
    assert len({json.dumps(answer["probabilities"]) for answer in answers[1::2]}) == 1
    assert {headers["content-type"] for headers in context.response_headers[::2]} == {"application/problem+json"}
    assert {headers["content-type"] for headers in context.response_headers[1::2]} == {"application/json"}


def test_a_problem_names_its_request(ready: CatsDogsHandler, unpacked: Path) -> None:
    (body,) = ready.handle([{"body": b"no picture"}], Context(unpacked, [REST]))
    assert json.loads(body)["request_id"] == "request-0001"


def test_only_rows_without_rests_header_are_marked_as_the_end_of_a_stream(
    ready: CatsDogsHandler, unpacked: Path
) -> None:
    context = Context(unpacked, [REST, {}])
    ready.handle([{"body": zoo.CAT.read_bytes()}, {"data": zoo.CAT.read_bytes()}], context)
    assert "ts_stream_next" not in context.response_headers[0]
    assert context.response_headers[1]["ts_stream_next"] == "false"


def test_a_model_that_fails_gives_an_error_to_its_rows_and_none_to_the_others(
    ready: CatsDogsHandler, unpacked: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(pixels: Pixels) -> Any:
        raise RuntimeError("CUDA error")

    monkeypatch.setattr(ready.predictor, "answers", broken)
    context = Context(unpacked, [REST, REST])
    with caplog.at_level(logging.ERROR):
        answers = ready.handle([{"body": zoo.CAT.read_bytes()}, {"body": b"text"}], context)
    assert list(context.status.values()) == [500, 415]
    assert json.loads(answers[0])["code"] == "internal"
    assert "request-0001" in caplog.text


def test_a_model_that_answers_nan_says_that_it_failed(
    ready: CatsDogsHandler, unpacked: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ready.predictor.runtime, "logits", lambda pixels: np.full((len(pixels), 2), np.nan))
    context = Context(unpacked, [REST])
    ready.handle([{"body": zoo.CAT.read_bytes()}], context)
    assert context.status == {0: 500}


def test_the_heart_beats_once_the_model_is_warm_and_says_when_it_is_busy(
    unpacked: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(DIRECTORY_VARIABLE, str(tmp_path))
    made = CatsDogsHandler()
    assert list(tmp_path.iterdir()) == []
    made.initialize(Context(unpacked, []))
    (path,) = tmp_path.iterdir()
    assert json.loads(path.read_text())["busy_since"] is None

    seen = []
    real = made.predictor.answers

    def watched(pixels: Pixels) -> Any:
        made.heartbeat.beat()
        seen.append(json.loads(path.read_text())["busy_since"])
        return real(pixels)

    monkeypatch.setattr(made.predictor, "answers", watched)
    made.handle([{"body": zoo.CAT.read_bytes()}], Context(unpacked, [REST]))
    assert seen[0] is not None
    assert made.heartbeat.busy_since is None
