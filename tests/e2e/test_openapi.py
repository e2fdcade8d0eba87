"""The server does as its openapi.json says; test_api_properties.py asks at random, here each thing is asked once."""

import base64
import re
import secrets
import time
from pathlib import Path
from typing import Any

import httpx
import jsonschema_rs
import pytest

from serving.health.heartbeats import live_workers
from serving.server.launch import Server
from tests import zoo
from tests.e2e.support import PATH, start, wait_for

METHODS = ("get", "post", "put")


@pytest.fixture
def api(client: httpx.Client) -> dict[str, Any]:
    document: dict[str, Any] = client.get("/openapi.json").json()
    return document


def follow(api: dict[str, Any], node: Any) -> Any:
    while "$ref" in node:
        target: Any = api
        for key in node["$ref"][2:].split("/"):
            target = target[key]
        node = target
    return node


def check(api: dict[str, Any], schema: Any, value: Any) -> None:
    """Raises where a value is not as its schema says."""
    jsonschema_rs.Draft202012Validator({**schema, "components": api["components"]}).validate(value)


def sent(operation: dict[str, Any]) -> dict[str, Any]:
    """A right body for an operation, as httpx takes it."""
    if "requestBody" not in operation:
        return {}
    if "application/json" not in operation["requestBody"]["content"]:
        return {"content": zoo.CAT.read_bytes()}
    text = base64.b64encode(zoo.CAT.read_bytes()).decode()
    tensor = {"name": "image", "datatype": "BYTES", "shape": [1], "data": [text]}
    is_v2 = operation["operationId"].startswith("inferV2")
    return {"json": {"inputs": [tensor]} if is_v2 else {"instances": [{"b64": text}]}}


def test_every_operation_is_answered_as_its_schema_says(client: httpx.Client, api: dict[str, Any]) -> None:
    requests = 0
    for path, item in api["paths"].items():
        examples = {p["name"]: p["schema"]["examples"][0] for p in item.get("parameters", [])}
        for method in METHODS:
            if method not in item:
                continue
            operation = item[method]
            response = client.request(method, path.format(**examples), **sent(operation))
            described = operation["responses"][str(response.status_code)]
            assert response.status_code == 200, (path, response.text)
            content = described["content"][response.headers["content-type"]]
            check(api, content["schema"], response.json())
            if "requestBody" in operation and "application/json" in operation["requestBody"]["content"]:
                request = operation["requestBody"]["content"]["application/json"]
                check(api, request["schema"], sent(operation)["json"])
                check(api, request["schema"], request["example"])
                assert client.request(method, path.format(**examples), json=request["example"]).status_code == 200
            requests += 1
    assert requests == 37


def test_every_path_says_truly_which_methods_it_takes(client: httpx.Client, api: dict[str, Any]) -> None:
    for path, item in api["paths"].items():
        examples = {p["name"]: p["schema"]["examples"][0] for p in item.get("parameters", [])}
        described = {method.upper() for method in METHODS if method in item}
        if "GET" in described:
            assert client.head(path.format(**examples)).status_code == 200
            described.add("HEAD")
        response = client.request("PATCH", path.format(**examples))
        assert response.status_code == 405
        assert set(response.headers["allow"].split(", ")) == described
        for method in described - {"HEAD"}:
            assert "405" in item[method.lower()]["responses"]


def test_what_is_not_in_it_is_not_found(client: httpx.Client, api: dict[str, Any]) -> None:
    for path in ("/v2/health", "/v2/models", "/v2/models/catsdogs/versions", "/v1", "/metrics"):
        assert path not in api["paths"]
        assert client.get(path).status_code == 404


@pytest.mark.parametrize(
    ("method", "query", "headers", "body", "status"),
    [
        ("POST", "", {}, b"", 400),
        ("POST", "?top_k=0", {}, zoo.CAT.read_bytes(), 400),
        ("POST", "", {}, b"no picture", 415),
        ("POST", "", {"Content-Type": "multipart/form-data; boundary="}, b"no form", 415),
        ("POST", "", {}, zoo.CAT.read_bytes()[:3000], 422),
        ("POST", "", {}, zoo.bomb(), 413),
        ("POST", "", {}, bytes(16 * 2**20 + 1), 413),
        ("POST", "", {"X-Timeout-Ms": "0"}, zoo.CAT.read_bytes(), 504),
        ("GET", "", {}, None, 405),
    ],
    ids=["empty", "top_k", "text", "boundary", "cut", "bomb", "large", "late", "get"],
)
def test_every_problem_is_described_and_looks_so(
    client: httpx.Client,
    api: dict[str, Any],
    method: str,
    query: str,
    headers: dict[str, str],
    body: bytes | None,
    status: int,
) -> None:
    response = client.request(method, f"{PATH}{query}", content=body, headers=headers)
    assert response.status_code == status
    described = follow(api, api["paths"][PATH]["post"]["responses"][str(status)])
    check(api, described["content"]["application/problem+json"]["schema"], response.json())
    assert f"`{response.json()['code']}`" in described["description"]
    assert response.headers["content-type"] == "application/problem+json"
    for name, header in described["headers"].items():
        assert name in response.headers or not follow(api, header).get("required", False)


def test_where_keys_are_asked_for_it_says_so_of_the_same_operations(archive: Path, tmp_path: Path) -> None:
    (tmp_path / "keys").write_text(secrets.token_urlsafe(32))
    with (
        start(archive, workers=1, keys=tmp_path / "keys") as guarded,
        httpx.Client(trust_env=False, timeout=30) as stranger,
    ):
        api = stranger.get(f"{guarded.options.url}/openapi.json").json()
        for path, item in api["paths"].items():
            examples = {p["name"]: p["schema"]["examples"][0] for p in item.get("parameters", [])}
            for method in METHODS:
                if method not in item:
                    continue
                response = stranger.request(method, f"{guarded.options.url}{path.format(**examples)}")
                asked_for = any(item[method].get("security", api["security"]))
                assert response.status_code == (401 if asked_for else 200), path
                assert ("401" in item[method]["responses"]) is asked_for


def test_its_version_and_labels_are_those_of_the_answers(client: httpx.Client, api: dict[str, Any]) -> None:
    answer = client.post(PATH, content=zoo.CAT.read_bytes()).json()
    assert api["info"]["title"] == "catsdogs"
    assert f"version {answer['model']['version']} of the model catsdogs" in api["info"]["description"]
    assert api["components"]["schemas"]["Label"]["enum"] == list(answer["probabilities"])


def test_a_request_id_of_the_documents_pattern_comes_back(client: httpx.Client, api: dict[str, Any]) -> None:
    parameters = {parameter["name"]: parameter for parameter in api["paths"][PATH]["post"]["parameters"]}
    pattern = parameters["X-Request-Id"]["schema"]["pattern"]
    for name in ("7", "a.b-c_d:e", "x" * 128):
        assert re.fullmatch(pattern, name)
        response = client.post(PATH, content=b"no picture", headers={"X-Request-Id": name})
        assert response.headers["x-request-id"] == name


def test_every_question_may_end_in_a_slash(client: httpx.Client, api: dict[str, Any]) -> None:
    for path, item in api["paths"].items():
        if "get" in item:
            examples = {p["name"]: p["schema"]["examples"][0] for p in item.get("parameters", [])}
            plain, slashed = client.get(path.format(**examples)), client.get(f"{path.format(**examples)}/")
            assert (slashed.status_code, slashed.json()) == (plain.status_code, plain.json()) == (200, plain.json())


@pytest.mark.parametrize("path", ["/v2/models/catsdogs/versions/9.9.9", "/v2/models/catsdogs/versions/9.9.9/ready"])
def test_a_version_that_is_not_served_is_not_found_and_the_served_one_is_named(
    client: httpx.Client, api: dict[str, Any], path: str
) -> None:
    response = client.get(path, headers={"X-Request-Id": "asks-for-9.9.9"})
    problem = response.json()
    assert (response.status_code, response.headers["content-type"]) == (404, "application/problem+json")
    check(api, {"$ref": "#/components/schemas/KServeProblem"}, problem)
    version = client.get("/v2/models/catsdogs").json()["versions"][0]
    assert problem["error"] == problem["detail"] == f"This server has one version of catsdogs: {version}."
    assert problem["request_id"] == response.headers["x-request-id"] == "asks-for-9.9.9"


def test_the_model_is_described_as_it_is_served(client: httpx.Client, server: Server) -> None:
    wait_for(lambda: len(client.get("/models/catsdogs").json()[0]["workers"]) == server.options.workers, 30, "workers")
    (described,) = client.get("/models/catsdogs").json()
    assert {worker["pid"] for worker in described["workers"]} == set(
        live_workers(server.run / "heartbeats", time.time())
    )
    assert described["minWorkers"] == described["maxWorkers"] == server.options.workers
    assert described["modelUrl"] == server.options.archive.path.name
    assert client.get("/models").json() == {"models": [{"modelName": "catsdogs", "modelUrl": described["modelUrl"]}]}
