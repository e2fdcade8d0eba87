"""Feedback to a real server: what is stored of it, what is refused, and that it is off unless it is asked for."""

import base64
import csv
import json
import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from click.testing import CliRunner

from monitoring.feedback.cli import feedback
from serving.feedback.settings import FeedbackSettings
from serving.gateway.openapi.problems import FEEDBACK_PROBLEMS
from serving.server.launch import Server
from tests import zoo
from tests.documentation import run_by
from tests.e2e.support import PATH, make_stubs, start, wait_for
from tests.e2e.test_metrics import CONTRACT, families, scrape
from tests.e2e.test_openapi import check, follow

CAT, DOG = zoo.CAT.read_bytes(), zoo.DOG.read_bytes()
KEY = secrets.token_urlsafe(32)
BEARER = {"Authorization": f"Bearer {KEY}"}
V1, V2 = "/v1/models/catsdogs:predict", "/v2/models/catsdogs/infer"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("feedback") / "place"


@pytest.fixture(scope="module")
def signing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("signing") / "key"
    path.write_text(f"{secrets.token_urlsafe(32)}\n")
    return path


@pytest.fixture(scope="module")
def listening(archive: Path, place: Path, signing: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that asks for a key, and takes feedback without pictures."""
    keys = tmp_path_factory.mktemp("keys") / "keys"
    keys.write_text(f"{KEY}\n")
    feedback = FeedbackSettings(str(place), signing, max_rate=1000)
    with start(archive, workers=1, keys=keys, feedback=feedback) as running:
        yield running


@pytest.fixture
def user(listening: Server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=listening.options.url, headers=BEARER, timeout=30, trust_env=False) as made:
        yield made


def token_of(user: httpx.Client, picture: bytes = CAT) -> str:
    answer = user.post(PATH, content=picture)
    assert answer.status_code == 200
    return str(answer.json()["feedback"])


def entries(place: Path) -> dict[str, Any]:
    return {path.stem: json.loads(path.read_bytes()) for path in place.glob("*/*.json")}


def is_refused(response: httpx.Response, status: int, code: str) -> None:
    assert (response.status_code, response.json()["code"]) == (status, code), response.text
    assert response.headers["content-type"] == "application/problem+json"
    assert code in FEEDBACK_PROBLEMS[status][1]


def test_off_there_is_no_path_no_token_and_no_word_of_it(client: httpx.Client, server: Server) -> None:
    for method in ("GET", "POST"):
        refused = client.request(method, "/feedback", json={"token": "x", "label": "cat"} if method == "POST" else None)
        assert (refused.status_code, refused.json()["code"]) == (404, "not_found")
    assert "feedback" not in client.post(PATH, content=CAT).json()
    assert "feedback" not in client.get("/openapi.json").text.lower()
    assert "catsdogs_feedback" not in scrape(server).text


def test_a_label_is_stored_with_what_was_predicted_and_nothing_else(user: httpx.Client, place: Path) -> None:
    answer = user.post(PATH, content=CAT, headers={"X-Request-Id": "whose-this-was"}).json()
    given = user.post("/feedback", json={"token": answer["feedback"], "label": "dog"})
    assert given.status_code == 200
    identity = given.json()["id"]
    stored = entries(place)[identity]
    assert given.json() == {"id": identity, "label": "dog", "picture": False}
    assert stored == {
        "id": identity,
        "predicted_at": stored["predicted_at"],
        "given_at": stored["given_at"],
        "sha256": sha256(CAT).hexdigest(),
        "label": "dog",
        "predicted": "cat",
        "probability": answer["probability"],
        "model": answer["model"],
        "picture": None,
    }
    for moment in ("predicted_at", "given_at"):
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[.]\d{3}Z", stored[moment])
    assert (place / stored["predicted_at"][:10] / f"{identity}.json").exists()


def test_a_second_label_of_the_same_token_replaces_the_first(user: httpx.Client, place: Path) -> None:
    token, before = token_of(user), len(entries(place))
    first = user.post("/feedback", json={"token": token, "label": "dog"}).json()["id"]
    for _ in range(5):
        assert user.post("/feedback", json={"token": token, "label": "other"}).json()["id"] == first
    assert len(entries(place)) == before + 1
    assert entries(place)[first]["label"] == "other"


def test_predicting_stores_nothing(user: httpx.Client, place: Path) -> None:
    before = entries(place)
    token_of(user)
    assert entries(place) == before


def test_every_protocol_gives_tokens(user: httpx.Client, place: Path) -> None:
    texts = [base64.b64encode(picture).decode() for picture in (CAT, DOG)]
    tensor = {"name": "image", "datatype": "BYTES", "shape": [2], "data": texts}
    tokens = [
        user.post(PATH, files={"file": CAT}).json()["feedback"],
        user.post(PATH, content=texts[0]).json()["feedback"],
    ]
    predictions = user.post(V1, json={"instances": [{"b64": text} for text in texts]}).json()["predictions"]
    tokens += [prediction["feedback"] for prediction in predictions]
    only = {"inputs": [tensor], "outputs": [{"name": "probability"}]}
    tokens += user.post(V2, json=only).json()["parameters"]["feedback"].split(" ")
    predicted = []
    for token in tokens:
        identity = user.post("/feedback", json={"token": token, "label": "other"}).json()["id"]
        predicted.append((entries(place)[identity]["predicted"], entries(place)[identity]["sha256"]))
    cat, dog = predicted[0], predicted[3]
    assert (cat[0], dog[0]) == ("cat", "dog")
    assert predicted == [cat, cat, cat, dog, cat, dog]


def test_both_protocols_of_grpc_give_tokens(listening: Server, user: httpx.Client, stubs: Any, tmp_path: Path) -> None:
    metadata = (("authorization", BEARER["Authorization"]),)
    with grpc.insecure_channel(f"127.0.0.1:{listening.options.ports.grpc}") as channel:
        messages, services = stubs
        request = messages.PredictionsRequest(model_name="catsdogs", input={"data": CAT})
        answer = services.InferenceAPIsServiceStub(channel).Predictions(request, timeout=30, metadata=metadata)
        tokens = [json.loads(answer.prediction)["feedback"]]
        with make_stubs(tmp_path, "open_inference_grpc") as (messages, services):
            tensor = messages.ModelInferRequest.InferInputTensor(name="image", datatype="BYTES", shape=[2])
            tensor.contents.bytes_contents.extend([CAT, DOG])
            infer = messages.ModelInferRequest(model_name="catsdogs", inputs=[tensor])
            reply = services.GRPCInferenceServiceStub(channel).ModelInfer(infer, timeout=30, metadata=metadata)
            tokens += reply.parameters["feedback"].string_param.split(" ")
    assert len(tokens) == 3
    for token in tokens:
        assert user.post("/feedback", json={"token": token, "label": "cat"}).status_code == 200


def test_a_probe_gets_no_token(user: httpx.Client) -> None:
    assert "feedback" not in user.post(PATH, content=CAT, headers={"x-catsdogs-probe": "1"}).json()


def test_a_client_cannot_have_the_handler_say_more_where_feedback_is_off(client: httpx.Client) -> None:
    assert "feedback" not in client.post(PATH, content=CAT, headers={"X-Catsdogs-Feedback": "1"}).json()


def test_a_key_is_needed_as_for_predictions_but_not_to_ask_what_may_be_given(
    listening: Server, user: httpx.Client
) -> None:
    token = token_of(user)
    with httpx.Client(base_url=listening.options.url, trust_env=False) as stranger:
        is_refused(stranger.post("/feedback", json={"token": token, "label": "dog"}), 401, "unauthorized")
        assert stranger.get("/feedback").json() == {
            "labels": ["cat", "dog", "other"],
            "pictures": False,
            "max_age_seconds": 86400,
        }


@pytest.mark.parametrize("label", ["../../etc/passwd", "cat\0", "fish", "", "CAT", "x" * 9000, "2026-11-29/a"])
def test_a_label_that_the_model_does_not_have_is_refused(user: httpx.Client, place: Path, label: str) -> None:
    before = sorted(place.rglob("*"))
    is_refused(user.post("/feedback", json={"token": token_of(user), "label": label}), 400, "unknown_label")
    assert sorted(place.rglob("*")) == before


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'"token"',
        b'{"token": "x"}',
        b'{"token": 1, "label": "cat"}',
        b'{"token": ["x"], "label": {"a": 1}}',
        b"[" * 10_000,
        b"\xff\xfe",
        CAT[:9000],
    ],
)
def test_what_is_no_feedback_is_refused(user: httpx.Client, body: bytes) -> None:
    is_refused(user.post("/feedback", content=body), 400, "bad_feedback")


@pytest.mark.parametrize(
    "body", [b"--b\r\n", b"--b--\r\n", b"", b'--b\r\ncontent-disposition: form-data; name="token"\r\n\r\nx\r\n--b--']
)
def test_a_form_without_token_and_label_is_refused(user: httpx.Client, body: bytes) -> None:
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    is_refused(user.post("/feedback", content=body, headers=headers), 400, "bad_feedback")


def test_a_token_that_was_changed_is_refused(user: httpx.Client) -> None:
    version, payload, mark = token_of(user).split(".")
    dog = (
        base64.urlsafe_b64encode(base64.urlsafe_b64decode(payload + "==").replace(b'"cat"', b'"dog"'))
        .rstrip(b"=")
        .decode()
    )
    for token in (f"{version}.{dog}.{mark}", f"{version}.{payload}.{'A' * 43}", payload, f"..{mark}", "../../x"):
        is_refused(user.post("/feedback", json={"token": token, "label": "cat"}), 403, "bad_token")


def test_a_picture_is_refused_where_none_is_stored(user: httpx.Client, place: Path) -> None:
    token = token_of(user)
    small = zoo.CAT.read_bytes()[:5000]
    form = {"token": token, "label": "dog"}
    is_refused(user.post("/feedback", data=form, files={"picture": small}), 403, "picture_refused")
    is_refused(user.post("/feedback", json={**form, "picture": "aGVsbG8="}), 403, "picture_refused")
    large = user.post("/feedback", data=form, files={"picture": CAT})
    is_refused(large, 413, "too_many_bytes")
    assert "this server stores no pictures" in large.json()["detail"]
    assert not [path for path in place.rglob("*") if path.is_file() and path.suffix != ".json"]


def test_what_is_too_large_is_refused_before_it_is_read(listening: Server) -> None:
    head = f"POST /feedback HTTP/1.1\r\nHost: x\r\nAuthorization: {BEARER['Authorization']}\r\n"
    with socket.create_connection(("127.0.0.1", listening.options.ports.rest), timeout=20) as connection:
        connection.sendall(f"{head}Content-Length: 99000000\r\n\r\n".encode())
        assert b" 413 " in connection.recv(1000)


def test_a_compressed_body_another_method_and_a_question_with_a_body_are_refused(user: httpx.Client) -> None:
    encoded = user.post("/feedback", content=b"x", headers={"Content-Encoding": "gzip"})
    is_refused(encoded, 415, "unsupported_encoding")
    other = user.put("/feedback", content=b"x")
    is_refused(other, 405, "method")
    assert other.headers["allow"] == "GET, HEAD, POST"
    asked = user.request("GET", "/feedback", content=b"x")
    assert (asked.status_code, asked.json()["code"]) == (400, "bad_request")


def test_labels_and_refusals_are_counted_as_the_contract_says(listening: Server, user: httpx.Client) -> None:
    def number(name: str, **labels: str) -> float:
        samples = families(scrape(listening).text)[name].samples
        return sum(sample.value for sample in samples if labels.items() <= sample.labels.items())

    def counted() -> list[float]:
        return [
            number("catsdogs_feedback", predicted="cat", given="dog"),
            number("catsdogs_feedback_refused", code="bad_token"),
            number("catsdogs_feedback_refused", code="unauthorized"),
        ]

    before, token = counted(), token_of(user)
    assert user.post("/feedback", json={"token": token, "label": "dog"}).status_code == 200
    assert user.post("/feedback", json={"token": f"{token}A", "label": "dog"}).status_code == 403
    assert user.post("/feedback", json={}, headers={"Authorization": ""}).status_code == 401
    wait_for(lambda: counted() == [value + 1 for value in before], 10, "each is counted once")
    wanted = {metric["name"]: metric for metric in CONTRACT if "feedback" in metric["name"]}
    for family in families(scrape(listening).text).values():
        if "feedback" in family.name:
            metric = wanted.pop(f"{family.name}_total")
            assert family.type == metric["type"]
            for sample in family.samples:
                assert sample.labels.keys() == metric["labels"].keys()
                for key, values in metric["labels"].items():
                    assert values is None or sample.labels[key] in values, sample
    assert not wanted


def test_feedback_is_no_prediction_in_the_counts(listening: Server, user: httpx.Client) -> None:
    def predictions() -> float:
        samples = families(scrape(listening).text)["catsdogs_request_duration_seconds"].samples
        return sum(sample.value for sample in samples if sample.name.endswith("_count"))

    token = token_of(user)
    before = predictions()
    assert user.post("/feedback", json={"token": token, "label": "dog"}).status_code == 200
    assert user.post("/feedback", json={"token": "x", "label": "dog"}).status_code == 403
    assert predictions() == before


def test_it_is_described_as_it_is(user: httpx.Client) -> None:
    api = user.get("/openapi.json").json()
    described = api["paths"]["/feedback"]
    given = {"token": token_of(user), "label": "dog"}
    for method, body in (("get", None), ("post", given)):
        response = user.request(method, "/feedback", json=body)
        check(api, described[method]["responses"]["200"]["content"]["application/json"]["schema"], response.json())
    check(api, {"$ref": "#/components/schemas/Feedback"}, given)
    check(api, {"$ref": "#/components/schemas/Answer"}, user.post(PATH, content=CAT).json())
    tensor = {"name": "image", "datatype": "BYTES", "shape": [1], "data": [base64.b64encode(CAT).decode()]}
    check(api, {"$ref": "#/components/schemas/V2Answer"}, user.post(V2, json={"inputs": [tensor]}).json())
    for body, status in (({}, 400), ({"token": "x", "label": "dog"}, 403)):
        refused = user.post("/feedback", json=body)
        answer = follow(api, described["post"]["responses"][str(status)])
        check(api, answer["content"]["application/problem+json"]["schema"], refused.json())
        assert f"`{refused.json()['code']}`" in answer["description"]


@pytest.fixture(scope="module")
def open_place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("feedback") / "place"


@pytest.fixture(scope="module")
def keeping(archive: Path, open_place: Path, signing: Path) -> Iterator[Server]:
    """A server without keys, on the same signing key, that stores pictures; few, and few at once."""
    feedback = FeedbackSettings(
        str(open_place), signing, pictures=True, max_age_hours=3 / 3600, max_rate=5, max_files=6
    )
    with start(archive, workers=1, feedback=feedback) as running:
        yield running


@pytest.fixture
def anybody(keeping: Server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=keeping.options.url, timeout=30, trust_env=False) as made:
        # A burst that another test took is back.
        wait_for(lambda: made.post("/feedback", json={}).status_code == 400, 20, "there is room in the rate")
        yield made


def test_the_picture_is_stored_where_it_is_allowed_and_sent(anybody: httpx.Client, open_place: Path) -> None:
    token = token_of(anybody)
    form = {"token": token, "label": "dog"}
    given = anybody.post("/feedback", data=form, files={"picture": ("holiday at home.jpg", CAT)}).json()
    assert given["picture"] is True
    (document,) = [entry for entry in entries(open_place).values() if entry["id"] == given["id"]]
    assert document["picture"] == f"{given['id']}.jpg"
    (day,) = open_place.iterdir()
    assert (day / document["picture"]).read_bytes() == CAT
    assert b"holiday" not in json.dumps(document).encode()
    # Changed one's mind.
    assert anybody.post("/feedback", json=form).json()["picture"] is False
    assert [path.suffix for path in day.glob(f"{given['id']}.*")] == [".json"]


def test_another_picture_is_refused(anybody: httpx.Client) -> None:
    form = {"token": token_of(anybody), "label": "dog"}
    for picture in (DOG, CAT + b"\0"):
        is_refused(anybody.post("/feedback", data=form, files={"picture": picture}), 422, "other_picture")


def test_a_token_of_the_other_server_with_the_same_key_is_taken(anybody: httpx.Client, user: httpx.Client) -> None:
    assert anybody.post("/feedback", json={"token": token_of(user), "label": "dog"}).status_code == 200


def test_a_token_ends(anybody: httpx.Client) -> None:
    token = token_of(anybody)

    def code() -> str:
        response = anybody.post("/feedback", json={"token": token, "label": "dog"})
        return str(response.json().get("code"))

    wait_for(lambda: code() == "expired_token", 20, "the token is too old")


def test_a_flood_is_told_to_wait_and_predictions_are_not(anybody: httpx.Client) -> None:
    refused = [response for _ in range(30) if (response := anybody.post("/feedback", json={})).status_code == 429]
    assert refused
    is_refused(refused[-1], 429, "too_much_feedback")
    assert refused[-1].headers["retry-after"] == "1"
    assert anybody.post(PATH, content=CAT).status_code == 200


def test_the_documented_commands_answer(
    keeping: Server, anybody: httpx.Client, open_place: Path, tmp_path: Path
) -> None:
    (block,) = [block for block in run_by(__file__) if block.language == "sh" and "token=" in block.text]
    script = block.text.replace("127.0.0.1:8080", f"127.0.0.1:{keeping.options.ports.rest}")
    curl = tmp_path / "curl"
    curl.write_text(f'#!/bin/sh\nexec {shutil.which("curl")} --noproxy "*" "$@"\n')
    curl.chmod(0o755)
    path = f"{tmp_path}:{os.environ['PATH']}"
    answers: list[Any] = []

    def give() -> bool:
        done = subprocess.run(["sh", "-c", script], cwd=zoo.ROOT, env={"PATH": path}, capture_output=True, text=True)
        answers.append(json.loads(done.stdout))
        return bool(answers[-1].get("code") != "too_much_feedback")

    wait_for(give, 20, "there is room in the rate")
    assert entries(open_place)[answers[-1]["id"]]["label"] == "dog"


def test_what_the_server_stores_can_be_reviewed(user: httpx.Client, place: Path, tmp_path: Path) -> None:
    identity = user.post("/feedback", json={"token": token_of(user, DOG), "label": "cat"}).json()["id"]
    done = CliRunner().invoke(feedback, ["review", str(place), "--out", str(tmp_path / "review")])
    assert (done.exit_code, "left out" in done.output) == (0, False), done.output
    with (tmp_path / "review" / "review.csv").open(newline="") as file:
        rows = {row["id"]: row for row in csv.DictReader(file)}
    assert rows.keys() == entries(place).keys()
    assert (rows[identity]["label"], rows[identity]["predicted"]) == ("cat", "dog")


def test_a_full_store_takes_no_more_and_predictions_go_on(anybody: httpx.Client, open_place: Path) -> None:
    statuses: list[int] = []

    def give() -> int:
        response = anybody.post("/feedback", json={"token": token_of(anybody), "label": "dog"})
        if response.status_code == 507:
            is_refused(response, 507, "feedback_full")
        statuses.append(response.status_code)
        return response.status_code

    wait_for(lambda: give() == 507, 20, "the store is full")
    assert set(statuses) <= {200, 429, 507}
    assert len([path for path in open_place.rglob("*") if path.is_file()]) == 6
    assert anybody.post(PATH, content=CAT).status_code == 200


def test_a_store_that_breaks_harms_no_prediction(archive: Path, tmp_path: Path) -> None:
    place = tmp_path / "place"
    with (
        start(archive, workers=1, feedback=FeedbackSettings(str(place))) as running,
        httpx.Client(base_url=running.options.url, timeout=30, trust_env=False) as client,
    ):
        place.rmdir()
        place.write_text("no folder any more")
        began = time.monotonic()
        for _ in range(2):
            token = token_of(client)
            broken = client.post("/feedback", json={"token": token, "label": "dog"})
            is_refused(broken, 503, "feedback_unavailable")
            assert broken.headers["retry-after"] == "5"
        assert time.monotonic() - began < 10
        # A key of the process's own, where none is given.
        assert client.post("/feedback", json={"token": "1.e30.e30", "label": "dog"}).json()["code"] == "bad_token"


def test_a_key_that_is_made_as_documented_is_taken(tmp_path: Path) -> None:
    (block,) = [block for block in run_by(__file__) if "token_urlsafe" in block.text]
    subprocess.run(["sh", "-c", block.text], cwd=tmp_path, check=True)
    FeedbackSettings(str(tmp_path / "place"), tmp_path / "feedback.key").check()


def test_the_documented_measurement_runs() -> None:
    (block,) = [block for block in run_by(__file__) if block.language == "python"]
    command = [sys.executable, "-c", block.text]
    done = subprocess.run(command, cwd=zoo.ROOT, capture_output=True, text=True, check=True)
    assert re.fullmatch(r"signing [\d.]+ µs\nhashing [\d.]+ µs\n", done.stdout)
