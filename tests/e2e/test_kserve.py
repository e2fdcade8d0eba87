"""KServe's two protocols, as its clients speak them."""

import base64
import json
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from serving.server.launch import Server
from tests import zoo
from tests.e2e.support import PATH, wait_for_all_workers
from tests.e2e.test_rest import is_problem

V1 = "/v1/models/catsdogs:predict"
V2 = "/v2/models/catsdogs/infer"


def b64(picture: bytes) -> str:
    return base64.b64encode(picture).decode()


def v1(*pictures: bytes) -> dict[str, Any]:
    return {"instances": [{"b64": b64(picture)} for picture in pictures]}


def v2(*pictures: bytes) -> dict[str, Any]:
    data = [b64(picture) for picture in pictures]
    return {"inputs": [{"name": "image", "datatype": "BYTES", "shape": [len(data)], "data": data}]}


@pytest.fixture
def reference(client: httpx.Client) -> dict[str, Any]:
    """The cat's answer by a raw body."""
    answer: dict[str, Any] = client.post(PATH, content=zoo.CAT.read_bytes()).json()
    return answer


def test_v1_gives_the_answers_of_raw_bodies_in_order(client: httpx.Client, reference: dict[str, Any]) -> None:
    response = client.post(V1, json=v1(zoo.CAT.read_bytes()))
    assert (response.status_code, response.headers["content-type"]) == (200, "application/json")
    assert response.json() == {"predictions": [reference]}
    dog = client.post(PATH, content=zoo.DOG.read_bytes()).json()
    many = client.post(V1, json=v1(*[zoo.DOG.read_bytes(), zoo.CAT.read_bytes()] * 5)).json()["predictions"]
    assert [answer["label"] for answer in many] == [dog["label"], reference["label"]] * 5
    for answer, alone in zip(many, [dog, reference] * 5, strict=True):
        assert answer["probability"] == pytest.approx(alone["probability"], abs=2e-3)


def test_v2_gives_the_same_as_tensors(client: httpx.Client, reference: dict[str, Any]) -> None:
    response = client.post(V2, json={"id": "mine", **v2(zoo.CAT.read_bytes())})
    assert (response.status_code, response.headers["content-type"]) == (200, "application/json")
    document = response.json()
    assert (document["model_name"], document["model_version"]) == ("catsdogs", reference["model"]["version"])
    assert document["id"] == "mine"
    assert {tensor["name"]: tensor["data"] for tensor in document["outputs"]} == {
        "label": [reference["label"]],
        "probability": [reference["probability"]],
        "probabilities": list(reference["probabilities"].values()),
    }


def test_what_comes_out_is_what_the_metadata_says(client: httpx.Client) -> None:
    metadata = client.get("/v2/models/catsdogs").json()
    outputs = client.post(V2, json=v2(zoo.CAT.read_bytes(), zoo.DOG.read_bytes())).json()["outputs"]
    assert [(tensor["name"], tensor["datatype"]) for tensor in outputs] == [
        (tensor["name"], tensor["datatype"]) for tensor in metadata["outputs"]
    ]
    for tensor, described in zip(outputs, metadata["outputs"], strict=True):
        assert tensor["shape"] == [2 if side == -1 else side for side in described["shape"]]
    assert metadata["parameters"]["classes"].split(",") == ["cat", "dog"]


def test_a_version_may_be_named_and_another_is_not_found(client: httpx.Client, reference: dict[str, Any]) -> None:
    version = reference["model"]["version"]
    versions = "/v2/models/catsdogs/versions"
    answer = client.post(f"{versions}/{version}/infer", json=v2(zoo.CAT.read_bytes())).json()
    assert answer["outputs"][0]["data"] == [reference["label"]]
    assert client.get(f"{versions}/{version}").json()["versions"] == [version]
    assert client.get(f"{versions}/{version}/ready").json() == {"name": "catsdogs", "ready": True}
    assert is_problem(client.post(f"{versions}/9.9.9/infer", json=v2(zoo.CAT.read_bytes())), 404, "not_found")
    assert is_problem(client.get(f"{versions}/9.9.9"), 404, "not_found")
    assert is_problem(client.get(f"{versions}/9.9.9/ready"), 404, "not_found")


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/models", {"models": ["catsdogs"]}),
        ("/v1/models/catsdogs", {"name": "catsdogs", "ready": True}),
        ("/v2/health/live", {"live": True}),
        ("/v2/health/ready", {"ready": True}),
        ("/v2/models/catsdogs/ready", {"name": "catsdogs", "ready": True}),
    ],
)
def test_questions_are_answered(client: httpx.Client, path: str, body: dict[str, Any]) -> None:
    response = client.get(path)
    assert (response.status_code, response.headers["content-type"]) == (200, "application/json")
    assert response.json() == body


QUESTIONS = ["/v2", "/v2/models/catsdogs", "/v1/models/catsdogs", "/openapi.json", "/readyz", "/livez", "/ping"]


@pytest.mark.parametrize("path", QUESTIONS)
def test_head_says_what_get_would_without_the_body(client: httpx.Client, path: str) -> None:
    get, head = client.get(path), client.head(path)
    assert head.content == b""
    assert head.status_code == get.status_code == 200
    for name in ("content-type", "content-length"):
        assert head.headers.get(name) == get.headers.get(name)


@pytest.mark.parametrize("path", QUESTIONS)
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
def test_a_question_takes_no_other_method(client: httpx.Client, path: str, method: str) -> None:
    response = client.request(method, path)
    assert response.headers["allow"] == "GET, HEAD"
    assert is_problem(response, 405, "method")


@pytest.mark.parametrize("path", [V1, V2, "/v2/models/catsdogs/versions/0.0.1/infer"])
def test_a_picture_is_sent_by_post(client: httpx.Client, path: str) -> None:
    for method in ("GET", "DELETE", "PATCH"):
        response = client.request(method, path)
        assert response.headers["allow"] == "POST, PUT"
        assert is_problem(response, 405, "method")
    assert client.head(path).status_code == 405


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/models/other:predict"),
        ("POST", "/v1/models/catsdogs:explain"),
        ("POST", "/v2/models/other/infer"),
        ("POST", "/v2/repository/models/catsdogs/load"),
        ("POST", "/v2/repository/index"),
        ("GET", "/v1/models/other"),
        ("GET", "/v2/models/other"),
        ("GET", "/v2/models/other/ready"),
        ("GET", "/v2/models"),
        ("GET", "/v2/health"),
        ("GET", "/V2/models/catsdogs"),
    ],
)
def test_another_model_or_path_is_not_found(client: httpx.Client, method: str, path: str) -> None:
    sent = v2(zoo.CAT.read_bytes()) if method == "POST" else None
    assert is_problem(client.request(method, path, json=sent), 404, "not_found")


@pytest.mark.parametrize(
    ("path", "body", "status", "code"),
    [
        (V1, b"", 400, "no_image"),
        (V1, b"{", 400, "bad_json"),
        (V1, zoo.CAT.read_bytes(), 400, "bad_json"),
        (V1, json.dumps(v2(b"x")).encode(), 400, "bad_json"),
        (V1, json.dumps(v1()).encode(), 400, "bad_json"),
        (V1, json.dumps(v1(b"")).encode(), 400, "no_image"),
        (V1, json.dumps(v1(b"no picture")).encode(), 415, "unsupported_image"),
        (V1, json.dumps(v1(*[b"x"] * 33)).encode(), 400, "bad_json"),
        (V1, b"[" * 1_000_000, 400, "bad_json"),
        (V2, json.dumps(v1(b"x")).encode(), 400, "bad_json"),
        (V2, json.dumps(v2()).encode(), 400, "bad_json"),
        (V2, json.dumps(v2(zoo.CAT.read_bytes(), zoo.bomb())).encode(), 413, "too_many_pixels"),
        (V2, json.dumps({"id": "i" * 2_000_000, **v2(b"x")}).encode(), 400, "bad_json"),
        (V2, b'{"inputs":[{"datatype":"BYTES","data":["eA=="],"shape":[' + b"9," * 999_999 + b"9]}]}", 400, "bad_json"),
    ],
    ids=range(14),
)
def test_what_cannot_be_answered_gets_its_problem_document(
    client: httpx.Client, path: str, body: bytes, status: int, code: str
) -> None:
    assert is_problem(client.post(path, content=body), status, code)


def test_a_bad_instance_is_named_by_its_number(client: httpx.Client) -> None:
    response = client.post(V1, json=v1(zoo.CAT.read_bytes(), zoo.CAT.read_bytes(), b"no picture"))
    assert response.json()["detail"].startswith("Instance 2: ")


def test_too_large_a_document_is_refused(client: httpx.Client) -> None:
    assert is_problem(client.post(V1, content=bytes(16 * 2**20 + 1)), 413, "too_many_bytes")


def test_the_content_type_does_not_matter(client: httpx.Client, reference: dict[str, Any]) -> None:
    body = json.dumps(v1(zoo.CAT.read_bytes())).encode()
    for kind in ("application/json", "application/json; charset=utf-8", "text/plain", "image/jpeg", ""):
        response = client.post(V1, content=body, headers={"Content-Type": kind})
        assert response.json() == {"predictions": [reference]}


def test_a_client_that_sends_the_gateways_own_headers_changes_nothing(
    client: httpx.Client, reference: dict[str, Any]
) -> None:
    picture = zoo.CAT.read_bytes()
    for name, values in {
        "X-Catsdogs-Protocol": ("v1", "v2", "", "x"),
        "X-Catsdogs-Boundary": ("x", ""),
        "X-Top-K": ("1", "0", "three"),
        "X-Request-Start": ("0", "1", "x"),
    }.items():
        for value in values:
            headers = {name: value, "X-Timeout-Ms": "60000"}
            assert client.post(PATH, content=picture, headers=headers).json() == reference
            assert client.post(V1, json=v1(picture), headers=headers).json() == {"predictions": [reference]}
            by_v2 = client.post(V2, json=v2(picture), headers=headers).json()
            assert by_v2["outputs"][0]["data"] == [reference["label"]]


def test_top_k_names_the_most_probable_alone(client: httpx.Client, reference: dict[str, Any]) -> None:
    picture, best = zoo.CAT.read_bytes(), {reference["label"]: reference["probability"]}
    assert client.post(f"{PATH}?top_k=1", content=picture).json() == {**reference, "probabilities": best}
    (by_v1,) = client.post(f"{V1}?top_k=1", json=v1(picture)).json()["predictions"]
    assert by_v1["probabilities"] == best
    assert client.post(f"{PATH}?top_k=9", content=picture).json() == reference
    by_v2 = client.post(f"{V2}?top_k=1", json=v2(picture)).json()
    assert by_v2["outputs"][2]["shape"] == [1, 2]


@pytest.mark.parametrize("query", ["0", "-1", "x", "1.5", "10000", "1&top_k=2", "%D9%A3", "1%0AX-Request-Start:%201"])
def test_another_top_k_is_refused(client: httpx.Client, query: str) -> None:
    for path, body in ((PATH, zoo.CAT.read_bytes()), (V1, json.dumps(v1(zoo.CAT.read_bytes())).encode())):
        assert is_problem(client.post(f"{path}?top_k={query}", content=body), 400, "bad_request")


def test_a_deadline_that_is_far_away_is_kept_and_one_that_is_none_is_refused(
    client: httpx.Client, reference: dict[str, Any]
) -> None:
    picture = zoo.CAT.read_bytes()
    assert client.post(PATH, content=picture, headers={"X-Timeout-Ms": "60000"}).json() == reference
    assert is_problem(client.post(PATH, content=picture, headers={"X-Timeout-Ms": "soon"}), 400, "bad_request")


def test_bad_documents_do_not_harm_their_neighbours(server: Server, client: httpx.Client) -> None:
    """48 requests from 16 threads: rows of five pictures, raw bodies, and documents that cannot be read."""
    cat = zoo.CAT.read_bytes()
    kinds = [
        (V1, json.dumps(v1(*[cat] * 5)).encode(), 200),
        (PATH, cat, 200),
        (V1, b"[" * 100_000, 400),
        (V2, json.dumps(v2(cat, cat)).encode(), 200),
        (V1, json.dumps(v1(cat, cat[:1000])).encode(), 422),
        (PATH, b"no picture", 415),
    ]

    def ask(number: int) -> httpx.Response:
        path, body, _ = kinds[number % len(kinds)]
        for _ in range(5):
            response = client.post(path, content=body)
            if response.status_code != 503:
                break
            # This machine has no time for all of them at once.
            time.sleep(float(response.headers["Retry-After"]))
        return response

    with ThreadPoolExecutor(16) as pool:
        responses = list(pool.map(ask, range(48)))
    assert [response.status_code for response in responses] == [kinds[n % len(kinds)][2] for n in range(48)]
    labels = {answer["label"] for response in responses[::6] for answer in response.json()["predictions"]}
    labels |= {response.json()["label"] for response in responses[1::6]}
    assert len(labels) == 1
    wait_for_all_workers(server)
