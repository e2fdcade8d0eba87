"""The REST API as OpenAPI 3.1, for the model that is served: what /openapi.json answers and /docs shows."""

from collections.abc import Mapping
from typing import Any

MAX_MIB = 16
FORMATS = ("image/jpeg", "image/png", "image/webp", "image/gif", "image/tiff", "image/bmp", "application/octet-stream")
# What a status means, and the codes of its problem documents.
PROBLEMS = {
    400: (
        "No picture, more than one, JSON that is not KServe's, a parameter that is no number, or half a body.",
        ("no_image", "bad_json", "bad_request", "incomplete"),
    ),
    401: ("No key, or a wrong one, where keys are asked for.", ("unauthorized",)),
    404: ("No such path, model or version.", ("not_found",)),
    405: ("The path does not take this method.", ("method",)),
    413: (f"More than {MAX_MIB} MiB, or more than 50 megapixels.", ("too_many_bytes", "too_many_pixels")),
    415: ("Not a picture, or of a format that is not read.", ("unsupported_image",)),
    422: ("A picture that is broken or cut off.", ("corrupt_image",)),
    500: ("Our fault.", ("internal",)),
    503: ("The queue is full, or no worker can answer.", ("overloaded",)),
    504: ("No answer in time.", ("deadline",)),
}
# What comes with a status, besides X-Request-Id, which comes with all.
HEADERS = {401: "WWW-Authenticate", 405: "Allow", 503: "Retry-After", 504: "Retry-After"}
# The smallest picture that is answered: one black pixel, as PNG in base64.
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR42mNgAAAAAgAB5Sfe/AAAAABJRU5ErkJggg=="
V1_EXAMPLE = {"instances": [{"b64": PIXEL}]}
V2_EXAMPLE = {"inputs": [{"name": "image", "datatype": "BYTES", "shape": [1], "data": [PIXEL]}]}
TEXT, BOOLEAN, INTEGER = {"type": "string"}, {"type": "boolean"}, {"type": "integer"}


def document(model: Mapping[str, Any]) -> dict[str, Any]:
    """The whole description.

    Args:
        model: as `serving.archive.Archive.facts` gives it.
    """
    name, version, classes = model["name"], model["version"], model["classes"]
    return {
        "openapi": "3.1.0",
        "info": {
            "title": f"{name} {version}",
            "version": model["server"],
            "summary": f"Tells {', '.join(classes)} apart.",
            "description": "Send a picture, get a label with its probability. Errors are problem documents (RFC 9457) "
            "with a stable `code`. What answers GET answers HEAD too, without a body.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "security": [{}, {"key": []}],
        "paths": {**_predictions(name, version), **_questions(name, version)},
        "components": {
            "securitySchemes": {
                "key": {"type": "http", "scheme": "bearer", "description": "Where keys are asked for."}
            },
            "headers": {
                "X-Request-Id": {"description": "The request's, or a new one.", "required": True, "schema": TEXT},
                "WWW-Authenticate": {"description": "How to bring a key.", "required": True, "schema": TEXT},
                "Allow": {"description": "The methods that the path takes.", "required": True, "schema": TEXT},
                # Not where the handler itself found a deadline passed, or the probe no worker.
                "Retry-After": {"description": "Seconds to wait, where they are known.", "schema": INTEGER},
            },
            "responses": {**{str(status): _problem(status) for status in PROBLEMS}, "NotReady": _not_ready()},
            "schemas": _schemas(classes),
        },
    }


def _predictions(name: str, version: str) -> dict[str, Any]:
    form = {"type": "object", "properties": {"file": {"contentMediaType": "application/octet-stream"}}}
    raw = {
        "required": True,
        "description": "The bytes of a picture, whatever the content type says, or a form with one file.",
        "content": {
            **{kind: {"schema": {}} for kind in FORMATS},
            "multipart/form-data": {"schema": {**form, "required": ["file"]}},
        },
    }
    v1 = {"required": True, "content": _json(_ref("V1Request"), V1_EXAMPLE)}
    v2 = {"required": True, "content": _json(_ref("V2Request"), V2_EXAMPLE)}
    versioned = {"parameters": [_version(version)]}
    return {
        f"/predictions/{name}": _sent("predict", "Classify a picture", raw, "Answer"),
        "/predictions": _sent("predictDefault", "Classify a picture, by the model that is served", raw, "Answer"),
        f"/predictions/{name}/{{version}}": {
            **versioned,
            **_sent("predictVersion", "Classify a picture by a version of the model", raw, "Answer"),
        },
        f"/v1/models/{name}:predict": _sent("predictV1", "KServe v1: classify pictures in base64", v1, "V1Answer"),
        f"/v2/models/{name}/infer": _sent("inferV2", "KServe v2: classify pictures in base64", v2, "V2Answer"),
        f"/v2/models/{name}/versions/{{version}}/infer": {
            **versioned,
            **_sent("inferV2Version", "KServe v2: the same by a version of the model", v2, "V2Answer"),
        },
    }


def _questions(name: str, version: str) -> dict[str, Any]:
    model, versioned = f"/v2/models/{name}", {"parameters": [_version(version)]}
    ready, model_ready = _object({"ready": BOOLEAN}), _object({"name": TEXT, "ready": BOOLEAN})
    server = _object({"name": TEXT, "version": TEXT, "extensions": _list(TEXT)})
    live = _object({"live": BOOLEAN})
    ping = _asked("ping", "The same in TorchServe's words", _object({"status": {"const": "Healthy"}}))
    ping["get"]["responses"]["500"] = _answer("No.", _object({"status": {"const": "Unhealthy"}}))
    return {
        "/v1/models": _asked("listModels", "KServe v1: the models", _object({"models": _list(TEXT)})),
        f"/v1/models/{name}": _asked("readyV1", "KServe v1: can the model answer?", model_ready),
        "/v2": _asked("server", "KServe v2: the server", server),
        "/v2/health/live": _asked("liveV2", "KServe v2: is the server there?", live),
        "/v2/health/ready": _asked("readyV2", "KServe v2: can it answer?", ready),
        model: _asked("metadata", "KServe v2: the model, its input and outputs", _ref("V2Model")),
        f"{model}/ready": _asked("modelReadyV2", "KServe v2: can the model answer?", model_ready),
        f"{model}/versions/{{version}}": {
            **versioned,
            **_asked("metadataVersion", "KServe v2: a version of the model", _ref("V2Model"), 404),
        },
        f"{model}/versions/{{version}}/ready": {
            **versioned,
            **_asked("versionReadyV2", "KServe v2: can a version of the model answer?", model_ready, 404),
        },
        "/readyz": _asked("ready", "Can a worker answer?", _object({"ready": BOOLEAN, "workers": INTEGER})),
        "/livez": _asked("live", "Is the server there?", live),
        "/ping": ping,
        "/openapi.json": _asked("openapi", "This document", {"type": "object"}),
    }


def _sent(operation: str, summary: str, body: dict[str, Any], answer: str) -> dict[str, Any]:
    """A path that pictures are sent to; PUT is what `curl -T` sends."""
    described = {
        "summary": summary,
        "parameters": _parameters(),
        "requestBody": body,
        "responses": {"200": _answer("The verdict.", _ref(answer)), **_problems(*PROBLEMS)},
    }
    return {
        "post": {"operationId": operation, **described},
        "put": {"operationId": f"{operation}ByPut", **described},
    }


def _asked(operation: str, summary: str, answer: dict[str, Any], *others: int) -> dict[str, Any]:
    """A question, which needs no key."""
    responses = {
        "200": _answer("Yes.", answer),
        **_problems(*others, 405, 504),
        "503": {"$ref": "#/components/responses/NotReady"},
    }
    return {"get": {"operationId": operation, "summary": summary, "security": [{}], "responses": responses}}


def _answer(text: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": text, "headers": _headers("X-Request-Id"), "content": _json(schema)}


def _problems(*statuses: int) -> dict[str, Any]:
    return {str(status): {"$ref": f"#/components/responses/{status}"} for status in statuses}


def _problem(status: int) -> dict[str, Any]:
    text, codes = PROBLEMS[status]
    told = {"properties": {"status": {"const": status}, "code": {"enum": list(codes)}}}
    headers = ["X-Request-Id", *([HEADERS[status]] if status in HEADERS else [])]
    content = {"application/problem+json": {"schema": {"allOf": [_ref("Problem"), told]}}}
    return {"description": text, "headers": _headers(*headers), "content": content}


def _not_ready() -> dict[str, Any]:
    """In the words of the question, or in the gateway's own where it stops or gets no answer."""
    no, optional = {"const": False}, ("name", "workers", "reason")
    ready = _object({"ready": no, "name": TEXT, "workers": INTEGER, "reason": TEXT}, optional)
    live = _object({"live": no, "reason": TEXT}, optional)
    problem = _problem(503)
    return {**problem, "description": "No.", "content": {**_json({"anyOf": [ready, live]}), **problem["content"]}}


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
        "schema": {"type": "string", "pattern": "^[0-9A-Za-z._-]+$", "examples": [version]},
    }


def _json(schema: dict[str, Any], example: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"application/json": {"schema": schema, **({"example": example} if example else {})}}


def _headers(*names: str) -> dict[str, Any]:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


def _list(items: dict[str, Any], **limits: int) -> dict[str, Any]:
    return {"type": "array", "items": items, **limits}


def _object(properties: dict[str, Any], optional: tuple[str, ...] = ()) -> dict[str, Any]:
    required = [name for name in properties if name not in optional]
    return {"type": "object", "properties": properties, "required": required}


def _schemas(classes: list[str]) -> dict[str, Any]:
    probability = {"type": "number", "minimum": 0, "maximum": 1}
    base64, label = {**TEXT, "contentEncoding": "base64"}, {**TEXT, "enum": classes}
    tensor = {"name": TEXT, "datatype": TEXT, "shape": _list(INTEGER)}
    instances = {"minItems": 1, "maxItems": 32}
    picture = {
        "name": TEXT,
        "datatype": {"const": "BYTES"},
        "shape": _list({**INTEGER, "minimum": 1, "maximum": 32}, maxItems=4),
        "data": _list({"oneOf": [base64, _list(base64)]}, **instances),
    }
    return {
        "Answer": _object(
            {
                "label": label,
                "probability": probability,
                "probabilities": {"type": "object", "propertyNames": label, "additionalProperties": probability},
                "model": _object({"name": TEXT, "version": TEXT, "sha256": TEXT}),
            }
        ),
        "V1Request": _object({"instances": _list({"oneOf": [base64, _object({"b64": base64})]}, **instances)}),
        "V1Answer": _object({"predictions": _list(_ref("Answer"))}),
        "V2Request": _object(
            {"id": {**TEXT, "maxLength": 256}, "inputs": _list(_object(picture), minItems=1, maxItems=1)}, ("id",)
        ),
        "V2Answer": _object(
            {
                "model_name": TEXT,
                "model_version": TEXT,
                "id": TEXT,
                "parameters": _object({"sha256": TEXT}),
                "outputs": _list(
                    _object({**tensor, "data": {"type": "array"}, "parameters": {"type": "object"}}, ("parameters",))
                ),
            },
            ("id",),
        ),
        "V2Model": _object(
            {
                "name": TEXT,
                "versions": _list(TEXT),
                "platform": TEXT,
                "inputs": _list(_object(tensor)),
                "outputs": _list(_object(tensor)),
                "parameters": _object({"classes": TEXT, "sha256": TEXT}),
            }
        ),
        "Problem": _object(
            {"type": TEXT, "title": TEXT, "status": INTEGER, "code": TEXT, "detail": TEXT, "request_id": TEXT},
            ("request_id",),
        ),
    }
