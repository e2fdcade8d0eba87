"""The REST API as OpenAPI 3.1, for the model that is served: what /openapi.json answers and /docs shows."""

from collections.abc import Mapping
from typing import Any

MAX_MIB = 16
FORMATS = ("image/jpeg", "image/png", "image/webp", "image/gif", "image/tiff", "image/bmp", "application/octet-stream")
PROBLEMS = {
    400: "No picture, more than one, JSON that is not KServe's, or a parameter that is no number.",
    401: "No key, or a wrong one.",
    404: "No such path, model or version.",
    405: "The path does not take this method.",
    413: f"More than {MAX_MIB} MiB, or more than 50 megapixels.",
    415: "Not a picture, or of a format that is not read.",
    422: "A picture that is broken or cut off.",
    500: "Our fault.",
    503: "The queue is full, or no worker can answer.",
    504: "No answer in time.",
}


def document(model: Mapping[str, Any]) -> dict[str, Any]:
    """The whole description.

    Args:
        model: as `serving.archive.Archive.facts` gives it.
    """
    name, classes = model["name"], model["classes"]
    return {
        "openapi": "3.1.0",
        "info": {
            "title": f"{name} {model['version']}",
            "version": model["server"],
            "summary": f"Tells {', '.join(classes)} apart.",
            "description": "Send a picture, get a label with its probability. Errors are problem documents (RFC 9457) "
            "with a stable `code`.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "security": [{}, {"key": []}],
        "paths": {
            f"/predictions/{name}": {"post": _predict("predict", "Classify a picture")},
            f"/predictions/{name}/{{version}}": {
                "parameters": [_version(model["version"])],
                "post": _predict("predictVersion", "Classify a picture by a version of the model"),
            },
            f"/v1/models/{name}:predict": {"post": _json("predictV1", "KServe v1", "V1Request", "V1Answer")},
            f"/v2/models/{name}/infer": {"post": _json("inferV2", "KServe v2", "V2Request", "V2Answer")},
            "/v1/models": {"get": _get("listModels", "KServe v1: the models")},
            f"/v1/models/{name}": {"get": _get("readyV1", "KServe v1: can the model answer?", (503,))},
            "/v2": {"get": _get("server", "KServe v2: the server")},
            "/v2/health/live": {"get": _get("liveV2", "KServe v2: is the server there?")},
            "/v2/health/ready": {"get": _get("readyV2", "KServe v2: can it answer?", (503,))},
            f"/v2/models/{name}": {"get": _get("metadata", "KServe v2: the model, its input and outputs")},
            f"/v2/models/{name}/ready": {"get": _get("modelReadyV2", "KServe v2: can the model answer?", (503,))},
            "/readyz": {"get": _get("ready", "Can a worker answer?", (503,))},
            "/livez": {"get": _get("live", "Is the gateway there?")},
            "/ping": {"get": _get("ping", "The same in TorchServe's words", (500,))},
        },
        "components": {
            "securitySchemes": {
                "key": {"type": "http", "scheme": "bearer", "description": "Where keys are asked for."}
            },
            "responses": {str(status): _problem(text) for status, text in PROBLEMS.items()},
            "schemas": _schemas(classes),
        },
    }


def _predict(operation: str, summary: str) -> dict[str, Any]:
    raw: dict[str, Any] = {kind: {"schema": {}} for kind in FORMATS}
    form = {"type": "object", "properties": {"file": {"contentMediaType": "application/octet-stream"}}}
    return {
        "operationId": operation,
        "summary": summary,
        "parameters": _parameters(),
        "requestBody": {
            "required": True,
            "description": "The bytes of a picture, whatever the content type says, or a form with one file.",
            "content": {**raw, "multipart/form-data": {"schema": {**form, "required": ["file"]}}},
        },
        "responses": _responses("Answer"),
    }


def _json(operation: str, protocol: str, request: str, answer: str) -> dict[str, Any]:
    return {
        "operationId": operation,
        "summary": f"{protocol}: classify pictures in base64",
        "parameters": _parameters(),
        "requestBody": {"required": True, "content": {"application/json": {"schema": _ref(request)}}},
        "responses": _responses(answer),
    }


def _get(operation: str, summary: str, others: tuple[int, ...] = ()) -> dict[str, Any]:
    body = {"application/json": {"schema": {"type": "object"}}}
    said = {"200": {"description": "Yes.", "content": body}}
    said.update({str(status): {"description": "No.", "content": body} for status in others})
    return {"operationId": operation, "summary": summary, "security": [{}], "responses": said}


def _parameters() -> list[dict[str, Any]]:
    return [
        {
            "name": "top_k",
            "in": "query",
            "description": "How many classes the answer names, the most probable first.",
            "schema": {"type": "integer", "minimum": 1, "maximum": 9999},
        },
        {
            "name": "X-Timeout-Ms",
            "in": "header",
            "description": "A request that waited for longer in the queue is not answered any more (504).",
            "schema": {"type": "integer", "minimum": 0, "maximum": 999999999},
        },
        {
            "name": "X-Request-Id",
            "in": "header",
            "description": "Comes back with the answer; one is made where there is none.",
            "schema": {"type": "string", "pattern": "^[A-Za-z0-9._-]{8,64}$"},
        },
    ]


def _version(version: str) -> dict[str, Any]:
    return {
        "name": "version",
        "in": "path",
        "required": True,
        "schema": {"type": "string", "pattern": "^[0-9A-Za-z.]+$", "examples": [version]},
    }


def _responses(answer: str) -> dict[str, Any]:
    found = {"200": {"description": "The verdict.", "content": {"application/json": {"schema": _ref(answer)}}}}
    return {**found, **{str(status): {"$ref": f"#/components/responses/{status}"} for status in PROBLEMS}}


def _problem(text: str) -> dict[str, Any]:
    return {"description": text, "content": {"application/problem+json": {"schema": _ref("Problem")}}}


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


def _object(properties: dict[str, Any], optional: tuple[str, ...] = ()) -> dict[str, Any]:
    required = [name for name in properties if name not in optional]
    return {"type": "object", "properties": properties, "required": required}


def _schemas(classes: list[str]) -> dict[str, Any]:
    probability = {"type": "number", "minimum": 0, "maximum": 1}
    text, base64 = {"type": "string"}, {"type": "string", "contentEncoding": "base64"}
    label = {"type": "string", "enum": classes}
    tensor = _object({"name": text, "datatype": text, "shape": {"type": "array", "items": {"type": "integer"}}})
    return {
        "Answer": _object(
            {
                "label": label,
                "probability": probability,
                "probabilities": {
                    "type": "object",
                    "propertyNames": label,
                    "additionalProperties": probability,
                },
                "model": _object({"name": text, "version": text, "sha256": text}),
            }
        ),
        "V1Request": _object(
            {
                "instances": {
                    "type": "array",
                    "minItems": 1,
                    "maxItems": 32,
                    "items": {"oneOf": [base64, _object({"b64": base64})]},
                }
            }
        ),
        "V1Answer": _object({"predictions": {"type": "array", "items": _ref("Answer")}}),
        "V2Request": _object(
            {
                "id": text,
                "inputs": {
                    "type": "array",
                    "minItems": 1,
                    "maxItems": 1,
                    "items": _object(
                        {
                            "name": text,
                            "datatype": {"const": "BYTES"},
                            "shape": {"type": "array", "items": {"type": "integer", "minimum": 0}},
                            "data": {"type": "array", "minItems": 1, "maxItems": 32, "items": base64},
                        }
                    ),
                },
            },
            optional=("id",),
        ),
        "V2Answer": _object(
            {
                "model_name": text,
                "model_version": text,
                "id": text,
                "parameters": {"type": "object"},
                "outputs": {"type": "array", "items": tensor},
            },
            optional=("id",),
        ),
        "Problem": _object(
            {
                "type": text,
                "title": text,
                "status": {"type": "integer"},
                "code": text,
                "detail": text,
                "request_id": text,
            },
            optional=("request_id",),
        ),
    }
