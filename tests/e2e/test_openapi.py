"""The server does as its openapi.json says."""

import base64
import re
from typing import Any

import httpx
import pytest

from tests import zoo
from tests.e2e.support import PATH

METHODS = ("get", "post")


@pytest.fixture
def api(client: httpx.Client) -> dict[str, Any]:
    document: dict[str, Any] = client.get("/openapi.json").json()
    return document


def follow(api: dict[str, Any], node: Any) -> Any:
    while "$ref" in node:
        found: Any = api
        for key in node["$ref"][2:].split("/"):
            found = found[key]
        node = found
    return node


def check(api: dict[str, Any], schema: Any, value: Any, where: str = "answer") -> None:
    """The parts of JSON Schema that the document uses."""
    schema = follow(api, schema)
    assert set(schema) <= {
        *("type", "properties", "required", "additionalProperties", "propertyNames", "items", "enum"),
        *("minimum", "maximum", "oneOf", "minItems", "maxItems", "contentEncoding", "const"),
    }, where
    kinds: dict[str, Any] = {"object": dict, "array": list, "string": str, "integer": int, "number": (int, float)}
    if "type" in schema:
        assert isinstance(value, kinds[schema["type"]]), where
    if "enum" in schema:
        assert value in schema["enum"], where
    if isinstance(value, int | float):
        assert schema.get("minimum", value) <= value <= schema.get("maximum", value), where
    if isinstance(value, dict):
        properties = schema.get("properties", {})
        assert set(schema.get("required", ())) <= set(value), where
        for key, child in value.items():
            if key in properties:
                check(api, properties[key], child, f"{where}.{key}")
            elif "additionalProperties" in schema:
                check(api, schema["propertyNames"], key, f"{where}: {key}")
                check(api, schema["additionalProperties"], child, f"{where}.{key}")
    if isinstance(value, list) and "items" in schema:
        for index, child in enumerate(value):
            check(api, schema["items"], child, f"{where}[{index}]")


def sent(operation: dict[str, Any]) -> dict[str, Any]:
    """A right body for an operation, as httpx takes it."""
    if "requestBody" not in operation:
        return {}
    if "application/json" not in operation["requestBody"]["content"]:
        return {"content": zoo.CAT.read_bytes()}
    text = base64.b64encode(zoo.CAT.read_bytes()).decode()
    tensor = {"name": "image", "datatype": "BYTES", "shape": [1], "data": [text]}
    return {"json": {"inputs": [tensor]} if operation["operationId"] == "inferV2" else {"instances": [{"b64": text}]}}


def test_every_operation_is_answered_as_its_schema_says(client: httpx.Client, api: dict[str, Any]) -> None:
    asked = 0
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
            check(api, content["schema"], response.json(), path)
            if "requestBody" in operation and "application/json" in operation["requestBody"]["content"]:
                request = operation["requestBody"]["content"]["application/json"]["schema"]
                check(api, request, sent(operation)["json"], f"{path} request")
            asked += 1
    assert asked >= 14


@pytest.mark.parametrize(
    ("method", "query", "body"),
    [
        ("POST", "", b""),
        ("POST", "?top_k=0", zoo.CAT.read_bytes()),
        ("POST", "", b"no picture"),
        ("POST", "", zoo.CAT.read_bytes()[:3000]),
        ("POST", "", zoo.bomb()),
        ("POST", "", bytes(16 * 2**20 + 1)),
        ("GET", "", None),
    ],
    ids=["empty", "top_k", "text", "cut", "bomb", "large", "get"],
)
def test_every_problem_is_described_and_looks_so(
    client: httpx.Client, api: dict[str, Any], method: str, query: str, body: bytes | None
) -> None:
    response = client.request(method, f"{PATH}{query}", content=body)
    described = follow(api, api["paths"][PATH]["post"]["responses"][str(response.status_code)])
    content = described["content"][response.headers["content-type"]]
    assert content == {"schema": {"$ref": "#/components/schemas/Problem"}}
    check(api, content["schema"], response.json())


def test_its_version_and_labels_are_those_of_the_answers(client: httpx.Client, api: dict[str, Any]) -> None:
    answer = client.post(PATH, content=zoo.CAT.read_bytes()).json()
    assert api["info"]["title"] == f"catsdogs {answer['model']['version']}"
    labels = api["components"]["schemas"]["Answer"]["properties"]["label"]["enum"]
    assert labels == list(answer["probabilities"])


def test_a_request_id_of_the_documents_pattern_comes_back(client: httpx.Client, api: dict[str, Any]) -> None:
    parameters = {parameter["name"]: parameter for parameter in api["paths"][PATH]["post"]["parameters"]}
    pattern = parameters["X-Request-Id"]["schema"]["pattern"]
    for name in ("a.b-c_d.", "x" * 64):
        assert re.fullmatch(pattern, name)
        response = client.post(PATH, content=b"no picture", headers={"X-Request-Id": name})
        assert response.headers["x-request-id"] == name
