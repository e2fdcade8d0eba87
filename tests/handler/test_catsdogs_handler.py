import base64
import inspect
import json
import logging
import time
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import handler.catsdogs_handler
from handler.catsdogs_handler import BUDGET_S, CatsDogsHandler
from handler.heartbeat import DIRECTORY_VARIABLE
from handler.preprocess import Pixels
from tests import zoo

REST = {"explain": "False", "X-Request-Id": "request-0001"}
V1 = {**REST, "X-Catsdogs-Protocol": "v1"}
V2 = {**REST, "X-Catsdogs-Protocol": "v2"}
BREEDS = [f"breed-{number:02}" for number in range(37)]


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


def v1(*pictures: bytes) -> dict[str, object]:
    return {"body": json.dumps({"instances": [{"b64": base64.b64encode(p).decode()} for p in pictures]}).encode()}


def v2(*pictures: bytes) -> dict[str, object]:
    data = [base64.b64encode(picture).decode() for picture in pictures]
    tensor = {"name": "image", "datatype": "BYTES", "shape": [len(data)], "data": data}
    return {"body": json.dumps({"id": "my-id", "inputs": [tensor]}).encode()}


@pytest.fixture(scope="module")
def ready(unpacked: Path) -> CatsDogsHandler:
    made = CatsDogsHandler()
    made.initialize(Context(unpacked, []))
    return made


def test_a_model_that_cannot_be_loaded_ends_the_worker_with_a_sentence_that_the_probe_finds_too(
    unpacked: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(DIRECTORY_VARIABLE, str(tmp_path))
    monkeypatch.setenv("CATSDOGS_RUNTIME", "torch")
    with pytest.raises(SystemExit) as ended:
        CatsDogsHandler().initialize(Context(unpacked, []))
    assert ended.value.code == 1
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("ERROR the model cannot be loaded: Nothing can run the model in ")
    (beat,) = tmp_path.iterdir()
    assert "Nothing can run the model" in beat.read_text()


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
    cats = [answer["probabilities"]["cat"] for answer in answers[1::2]]
    assert cats == pytest.approx(cats[:1] * len(cats), abs=2e-3)  # a network's sums depend on the batch's size
    assert {headers["content-type"] for headers in context.response_headers[::2]} == {"application/problem+json"}
    assert {headers["content-type"] for headers in context.response_headers[1::2]} == {"application/json"}


def test_a_problem_names_its_request(ready: CatsDogsHandler, unpacked: Path) -> None:
    (body,) = ready.handle([{"body": b"no picture"}], Context(unpacked, [REST]))
    assert json.loads(body)["request_id"] == "request-0001"


@pytest.mark.parametrize(("headers", "has_error"), [(REST, False), (V1, True), (V2, True)])
def test_a_problem_of_kserves_protocols_has_the_member_that_their_clients_read(
    ready: CatsDogsHandler, unpacked: Path, headers: dict[str, str], has_error: bool
) -> None:
    (body,) = ready.handle([{"body": b"{}"}], Context(unpacked, [headers]))
    problem = json.loads(body)
    assert problem.get("error") == (problem["detail"] if has_error else None)


def test_a_path_of_our_own_answers_kserves_json_by_a_list_and_base64_by_one_document(
    ready: CatsDogsHandler, unpacked: Path
) -> None:
    cat = zoo.CAT.read_bytes()
    rows: list[dict[str, object]] = [v1(cat, cat), {"body": base64.encodebytes(cat)}]
    several, single = (json.loads(body) for body in ready.handle(rows, Context(unpacked, [REST, REST])))
    assert [answer["label"] for answer in several] == [single["label"]] * 2


def test_bodies_and_pictures_are_let_go_once_they_are_read(ready: CatsDogsHandler, unpacked: Path) -> None:
    bodies = [bytearray(zoo.CAT.read_bytes()), bytearray(b"no picture")]
    requests, _, problems = ready.preprocess([{"body": body} for body in bodies], [REST, REST])
    assert bodies == [b"", b""]
    assert requests[0].pictures == []
    assert problems[1].__traceback__ is None


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

    monkeypatch.setattr(ready.predictor, "probabilities", broken)
    context = Context(unpacked, [REST, REST])
    with caplog.at_level(logging.ERROR):
        answers = ready.handle([{"body": zoo.CAT.read_bytes()}, {"body": b"text"}], context)
    assert list(context.status.values()) == [500, 415]
    assert json.loads(answers[0])["code"] == "internal"
    assert "request-0001" in caplog.text


def test_a_model_that_answers_nan_says_that_it_failed(
    ready: CatsDogsHandler, unpacked: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ready.predictor.network, "logits", lambda pixels: np.full((len(pixels), 2), np.nan))
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
    (path,) = tmp_path.glob("*.json")
    assert json.loads(path.read_text())["busy_since"] is None

    seen = []
    real = made.predictor.probabilities

    def watched(pixels: Pixels) -> Any:
        made.heartbeat.beat()
        seen.append(json.loads(path.read_text())["busy_since"])
        return real(pixels)

    monkeypatch.setattr(made.predictor, "probabilities", watched)
    made.handle([{"body": zoo.CAT.read_bytes()}], Context(unpacked, [REST]))
    assert seen[0] is not None
    assert (made.heartbeat.busy_since, made.heartbeat.batches) == (None, 1)


def test_the_cpu_time_of_a_batch_is_counted_by_stage(ready: CatsDogsHandler, unpacked: Path) -> None:
    before, used = ready.counting.counts.cpu_s.copy(), time.process_time()
    ready.handle([{"body": zoo.CAT.read_bytes()}, {"body": zoo.DOG.read_bytes()}], Context(unpacked, [REST, REST]))
    spent = {stage: ready.counting.counts.cpu_s[stage] - seconds for stage, seconds in before.items()}
    assert min(spent["decode"], spent["network"]) > 0.0005
    # The process's own clock may lag by a tick of the scheduler.
    assert sum(spent.values()) <= time.process_time() - used + 0.01


def test_a_batch_may_mix_protocols_rows_of_many_pictures_and_bad_rows(ready: CatsDogsHandler, unpacked: Path) -> None:
    """Twelve pictures in a batch of eight rows: every answer is the one that its picture gets alone."""
    cat, dog = zoo.CAT.read_bytes(), zoo.DOG.read_bytes()
    rows: list[tuple[dict[str, object], dict[str, str]]] = [
        ({"body": cat}, REST),
        (v1(cat, dog, cat, dog, dog), V1),
        (v1(cat, b"no picture"), V1),
        ({"data": dog}, {}),
        ({"body": b"{"}, V2),
        (v2(dog, cat, dog), V2),
        ({"body": b"no picture"}, REST),
        (v1(), V1),
    ]
    context = Context(unpacked, [headers for _, headers in rows])
    answers = [json.loads(body) for body in ready.handle([row for row, _ in rows], context)]
    assert list(context.status.values()) == [200, 200, 415, 200, 400, 200, 415, 400]
    assert answers[2]["detail"].startswith("Instance 1: ")
    assert not answers[6]["detail"].startswith("Instance")

    alone = {
        picture: json.loads(ready.handle([{"body": picture}], Context(unpacked, [REST]))[0]) for picture in (cat, dog)
    }
    together = [answers[0], *answers[1]["predictions"], answers[3]]
    for answer, picture in zip(together, [cat, cat, dog, cat, dog, dog, dog], strict=True):
        # Kernels for another batch size round otherwise.
        assert answer["probability"] == pytest.approx(alone[picture]["probability"], abs=2e-3)
        assert answer["label"] == alone[picture]["label"]
    labels, probabilities, _ = answers[5]["outputs"]
    assert labels["data"] == [alone[picture]["label"] for picture in (dog, cat, dog)]
    for probability, picture in zip(probabilities["data"], (dog, cat, dog), strict=True):
        assert probability == pytest.approx(alone[picture]["probability"], abs=2e-3)
    assert answers[5]["id"] == "my-id"


def test_the_network_never_sees_more_pictures_than_it_was_warmed_up_for(
    ready: CatsDogsHandler, unpacked: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = []
    real = ready.predictor.probabilities

    def watched(pixels: Pixels) -> Any:
        sizes.append(len(pixels))
        return real(pixels)

    monkeypatch.setattr(ready.predictor, "probabilities", watched)
    (body,) = ready.handle([v1(*[zoo.CAT.read_bytes()] * 19)], Context(unpacked, [V1]))
    assert len(json.loads(body)["predictions"]) == 19
    assert sizes == [8, 8, 3]


def test_hostile_json_harms_no_neighbour(ready: CatsDogsHandler, unpacked: Path) -> None:
    hostile = [b"[" * 100_000, b"9" * 100_000, b'{"instances":' + b"[" * 100_000, b"\xff", b"null"]
    rows: list[dict[str, object]] = [{"body": body} for body in hostile]
    context = Context(unpacked, [V1] * len(rows) + [REST])
    answers = ready.handle([*rows, {"body": zoo.CAT.read_bytes()}], context)
    assert list(context.status.values()) == [400] * len(rows) + [200]
    assert json.loads(answers[-1])["label"] in ("cat", "dog")


def test_a_row_whose_reading_breaks_by_our_fault_harms_no_neighbour(
    ready: CatsDogsHandler, unpacked: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    real = ready.predictor.decode

    def broken(data: bytes) -> Pixels:
        if data == b"odd":
            raise RuntimeError("a bug")
        return real(data)

    monkeypatch.setattr(ready.predictor, "decode", broken)
    context = Context(unpacked, [REST, REST])
    answers = ready.handle([{"body": b"odd"}, {"body": zoo.CAT.read_bytes()}], context)
    assert list(context.status.values()) == [500, 200]
    assert json.loads(answers[0])["code"] == "internal"
    assert "a bug" in caplog.text
    assert "request-0001" in caplog.text


def test_a_request_whose_client_has_left_is_not_decoded(
    ready: CatsDogsHandler, unpacked: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded = []
    real = ready.predictor.decode

    def watched(data: bytes) -> Pixels:
        decoded.append(data)
        return real(data)

    monkeypatch.setattr(ready.predictor, "decode", watched)
    now = int(1000 * time.time())
    late = {**REST, "X-Timeout-Ms": "1000", "X-Request-Start": str(now - 2000)}
    early = {**REST, "X-Timeout-Ms": "60000", "X-Request-Start": str(now - 2000)}
    context = Context(unpacked, [late, early])
    answers = ready.handle([{"body": zoo.DOG.read_bytes()}, {"body": zoo.CAT.read_bytes()}], context)
    assert list(context.status.values()) == [504, 200]
    assert json.loads(answers[0])["code"] == "deadline"
    assert decoded == [zoo.CAT.read_bytes()]


@pytest.fixture
def breeds(ready: CatsDogsHandler, monkeypatch: pytest.MonkeyPatch) -> CatsDogsHandler:
    """A model of 37 classes: the pictures are real, the logits rise to class 20 and fall again."""
    logits = np.array([-abs(number - 20) / 2 for number in range(37)], dtype=np.float32)
    monkeypatch.setattr(ready.predictor, "release", replace(ready.predictor.release, classes=BREEDS))
    monkeypatch.setattr(ready.predictor.network, "logits", lambda pixels: np.tile(logits, (len(pixels), 1)))
    return ready


@pytest.mark.parametrize(
    ("top_k", "named"),
    [
        ("", [20, 19, 21, 18, 22]),
        ("1", [20]),
        ("2", [20, 19]),
        ("37", [20, *(c for n in range(1, 17) for c in (20 - n, 20 + n)), 3, 2, 1, 0]),
        ("9999", [20, *(c for n in range(1, 17) for c in (20 - n, 20 + n)), 3, 2, 1, 0]),
    ],
)
def test_of_many_classes_the_most_probable_are_named_first(
    breeds: CatsDogsHandler, unpacked: Path, top_k: str, named: list[int]
) -> None:
    context = Context(unpacked, [{**REST, "X-Top-K": top_k}])
    answer = json.loads(breeds.handle([{"body": zoo.CAT.read_bytes()}], context)[0])
    assert answer["label"] == "breed-20"
    assert list(answer["probabilities"]) == [BREEDS[number] for number in named]
    assert answer["probabilities"]["breed-20"] == answer["probability"]


def test_each_row_has_its_own_top_k_and_a_wrong_one_harms_no_neighbour(breeds: CatsDogsHandler, unpacked: Path) -> None:
    context = Context(unpacked, [{**REST, "X-Top-K": "3"}, {**REST, "X-Top-K": "three"}, {**V1, "X-Top-K": "2"}])
    picture = zoo.CAT.read_bytes()
    answers = [json.loads(b) for b in breeds.handle([{"body": picture}, {"body": picture}, v1(picture)], context)]
    assert list(context.status.values()) == [200, 400, 200]
    assert len(answers[0]["probabilities"]) == 3
    assert answers[1]["code"] == "bad_request"
    assert len(answers[2]["predictions"][0]["probabilities"]) == 2


def test_a_tensor_has_a_column_for_each_of_many_classes(breeds: CatsDogsHandler, unpacked: Path) -> None:
    context = Context(unpacked, [{**V2, "X-Top-K": "1"}])
    document = json.loads(breeds.handle([v2(zoo.CAT.read_bytes(), zoo.DOG.read_bytes())], context)[0])
    tensor = document["outputs"][2]
    assert tensor["shape"] == [2, 37]
    assert tensor["parameters"]["classes"].split(",") == BREEDS
    assert np.argmax(tensor["data"][:37]) == 20
    assert min(tensor["data"]) > 0
    assert sum(tensor["data"]) == pytest.approx(2, abs=1e-4)


def test_two_classes_are_both_named_in_the_releases_order_unless_fewer_are_wanted(
    ready: CatsDogsHandler, unpacked: Path
) -> None:
    context = Context(unpacked, [REST, {**REST, "X-Top-K": "1"}, {**REST, "X-Top-K": "5"}])
    answers = [json.loads(body) for body in ready.handle([{"body": zoo.DOG.read_bytes()}] * 3, context)]
    assert list(answers[0]["probabilities"]) == ["cat", "dog"]
    assert list(answers[1]["probabilities"]) == [answers[1]["label"]]
    assert next(iter(answers[2]["probabilities"])) == answers[2]["label"]
    assert len(answers[2]["probabilities"]) == 2


def test_the_pictures_of_one_request_have_together_no_more_pixels_than_one_may(
    ready: CatsDogsHandler, unpacked: Path
) -> None:
    large = zoo.encode(Image.new("L", (6000, 5000)), "PNG")
    instances = [{"b64": base64.b64encode(picture).decode()} for picture in (zoo.CAT.read_bytes(), large, large)]
    rows = [{"body": json.dumps({"instances": some}).encode()} for some in (instances[:2], instances)]
    contexts = [Context(unpacked, [V1]) for _ in rows]
    # Not in one batch: on a slow machine the first would use up its time.
    first, second = (json.loads(ready.handle([row], context)[0]) for row, context in zip(rows, contexts, strict=True))
    assert [context.status[0] for context in contexts] == [200, 413]
    assert len(first["predictions"]) == 2
    assert second["code"] == "too_many_pixels"
    assert second["detail"].startswith("Instance 2: ")


def test_a_batch_that_took_long_begins_no_other_large_picture_and_every_small_one(
    ready: CatsDogsHandler, unpacked: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("handler.catsdogs_handler.BUDGET_S", 0.1)  # one of these takes longer
    large: dict[str, object] = {"body": zoo.encode(Image.new("RGBA", (5000, 5000)), "PNG", compress_level=1)}
    small = zoo.CAT.read_bytes()
    rows: list[dict[str, object]] = [large, large, {"body": small}, v1(small, small), v1(small), large]
    context = Context(unpacked, [REST, REST, REST, V1, V1, {}])
    answers = [json.loads(body) for body in ready.handle(rows, context)]
    assert list(context.status.values()) == [200, 503, 200, 503, 200, 503]
    refused = [number for number, answer in enumerate(answers) if answer.get("code") == "overloaded"]
    assert refused == [1, 3, 5]
    assert refused == [number for number, headers in enumerate(context.response_headers) if "Retry-After" in headers]


def test_what_the_network_will_take_counts_too(
    ready: CatsDogsHandler, unpacked: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ready, "picture_s", BUDGET_S)
    picture = zoo.CAT.read_bytes()
    context = Context(unpacked, [V1, V1, REST])
    ready.handle([v1(picture, picture), v1(picture, picture), {"body": picture}], context)
    assert list(context.status.values()) == [200, 503, 200]
    assert 0 < ready.picture_s < BUDGET_S, "measured anew"


def test_where_the_gateway_takes_feedback_an_answer_says_what_it_shall_sign(ready: CatsDogsHandler) -> None:
    pictures = [zoo.CAT.read_bytes(), zoo.DOG.read_bytes()]
    asked = {"X-Catsdogs-Feedback": "1"}
    rows: list[dict[str, object]] = [
        {"body": bytearray(pictures[0])},
        v1(*pictures),
        v2(*pictures),
        {"body": bytearray(pictures[0])},
    ]
    context = Context(Path(), [REST | asked, V1 | asked, V2 | asked, REST])
    raw, predictions, tensors, plain = map(json.loads, ready.handle(rows, context))
    claims = [raw["feedback"], *(answer["feedback"] for answer in predictions["predictions"])]
    claims += tensors["parameters"]["feedback"]
    model = [raw["model"][name] for name in ("name", "version", "sha256", "precision")]
    wanted = [
        [sha256(picture).hexdigest(), answer["label"], answer["probability"], *model]
        for picture, answer in zip(pictures, predictions["predictions"], strict=True)
    ]
    assert claims == [wanted[0], *wanted, *wanted]
    assert "feedback" not in plain
