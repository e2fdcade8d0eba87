"""The REST API as OpenAPI 3.1, for the model that is served: what /openapi.json answers and /docs shows.

Generators of clients read less than the standard allows. So every object has a name of its own, a body is plain bytes
or a form, and all problem documents are one schema, whose codes each answer's description names.
"""

from collections.abc import Mapping
from typing import Any

MAX_MIB = 16
OCTETS, FORM = "application/octet-stream", "multipart/form-data"
JSON, PROBLEM = "application/json", "application/problem+json"
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
    415: (
        "Not a picture, or of a format that is not read, or a compressed body.",
        ("unsupported_image", "unsupported_encoding"),
    ),
    421: ("The server does not answer to the host that the request names.", ("wrong_host",)),
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
BINARY = {"type": "string", "format": "binary"}
BASE64 = {"type": "string", "contentEncoding": "base64"}
INSTANCES = {"minItems": 1, "maxItems": 32}
TAGS = {
    "predictions": "Send a picture, get a label with its probability.",
    "kserve": "The same, and questions about the model, in KServe's protocols v1 and v2.",
    "health": "Questions about the server, which need no key.",
}


def document(model: Mapping[str, Any]) -> dict[str, Any]:
    """The whole description.

    Args:
        model: as `serving.server.archive.Archive.facts` gives it.
    """
    name, version, classes = model["name"], model["version"], model["classes"]
    return {
        "openapi": "3.1.0",
        "info": {
            "title": name,
            "version": model["server"],
            "summary": f"Tells {', '.join(classes)} apart.",
            "description": f"Send a picture, get a label with its probability, by version {version} of the model "
            f"{name}. Errors are problem documents (RFC 9457) with a stable `code`. What answers GET answers HEAD too, "
            "without a body.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "security": [{}, {"key": []}],
        "tags": [{"name": tag, "description": text} for tag, text in TAGS.items()],
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
            "responses": _responses(),
            "schemas": _schemas(classes, model.get("names") or {}),
        },
    }


def _predictions(name: str, version: str) -> dict[str, Any]:
    raw = {
        "required": True,
        "description": "The bytes of a picture, whatever content type the request names, or a form with one file.",
        "content": {OCTETS: {"schema": BINARY}, FORM: {"schema": _ref("Form")}},
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
    v1, v2, versioned = f"/v1/models/{name}", f"/v2/models/{name}", {"parameters": [_version(version)]}
    ping = _asked("ping", "health", "The same in TorchServe's words", _ref("Ping"))
    ping["get"]["responses"]["500"] = _answer("No.", _ref("Ping"))
    described = _list(_ref("TorchServeModel"))
    return {
        "/v1/models": _asked("listModels", "kserve", "KServe v1: the models", _ref("V1Models")),
        v1: _asked("readyV1", "kserve", "KServe v1: can the model answer?", _ref("ModelReady")),
        "/v2": _asked("server", "kserve", "KServe v2: the server", _ref("V2Server")),
        "/v2/health/live": _asked("liveV2", "kserve", "KServe v2: is the server there?", _ref("Live")),
        "/v2/health/ready": _asked("readyV2", "kserve", "KServe v2: can it answer?", _ref("Ready")),
        v2: _asked("metadata", "kserve", "KServe v2: the model, its input and outputs", _ref("V2Model")),
        f"{v2}/ready": _asked("modelReadyV2", "kserve", "KServe v2: can the model answer?", _ref("ModelReady")),
        f"{v2}/versions/{{version}}": {
            **versioned,
            **_asked("metadataVersion", "kserve", "KServe v2: a version of the model", _ref("V2Model"), 404),
        },
        f"{v2}/versions/{{version}}/ready": {
            **versioned,
            **_asked(
                "versionReadyV2", "kserve", "KServe v2: can a version of the model answer?", _ref("ModelReady"), 404
            ),
        },
        "/models": _asked("models", "health", "The models, as TorchServe lists them", _ref("TorchServeModels")),
        f"/models/{name}": _asked("describeModel", "health", "The model, as TorchServe describes it", described),
        f"/models/{name}/{{version}}": {
            **versioned,
            **_asked("describeVersion", "health", "A version of the model, as TorchServe describes it", described, 404),
        },
        "/readyz": _asked("ready", "health", "Can a worker answer?", _ref("WorkersReady")),
        "/livez": _asked("live", "health", "Is the server there?", _ref("Live")),
        "/ping": ping,
        "/openapi.json": _asked("openapi", "health", "This document", _ref("Document")),
    }


def _sent(operation: str, summary: str, body: dict[str, Any], answer: str) -> dict[str, Any]:
    """A path that pictures are sent to; PUT is what `curl -T` sends."""
    kserve = answer != "Answer"
    described = {
        "tags": ["kserve" if kserve else "predictions"],
        "summary": summary,
        "parameters": _parameters(),
        "requestBody": body,
        "responses": {"200": _answer("The prediction.", _ref(answer)), **_problems(kserve, *PROBLEMS)},
    }
    return {
        "post": {"operationId": operation, **described},
        "put": {"operationId": f"{operation}ByPut", **described},
    }


def _asked(operation: str, tag: str, summary: str, answer: dict[str, Any], *others: int) -> dict[str, Any]:
    """A question, which needs no key."""
    kserve = tag == "kserve"
    responses = {
        "200": _answer("Yes.", answer),
        **_problems(kserve, *others, 405, 421, 504),
        "503": {"$ref": f"#/components/responses/{'KServe' * kserve}NotReady"},
    }
    described = {"operationId": operation, "tags": [tag], "summary": summary, "security": [], "responses": responses}
    return {"get": described}


def _answer(text: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": text, "headers": _headers("X-Request-Id"), "content": _json(schema)}


def _problems(kserve: bool, *statuses: int) -> dict[str, Any]:
    return {str(status): {"$ref": f"#/components/responses/{'KServe' * kserve}{status}"} for status in statuses}


def _responses() -> dict[str, Any]:
    return {
        f"{prefix}{name}": response
        for prefix in ("", "KServe")
        for name, response in (
            *((str(status), _problem(status, f"{prefix}Problem")) for status in PROBLEMS),
            ("NotReady", _not_ready(f"{prefix}Problem")),
        )
    }


def _problem(status: int, schema: str) -> dict[str, Any]:
    text, codes = PROBLEMS[status]
    named = ", ".join(f"`{code}`" for code in codes)
    headers = ["X-Request-Id", *([HEADERS[status]] if status in HEADERS else [])]
    return {
        "description": f"{text} Code: {named}.",
        "headers": _headers(*headers),
        "content": {PROBLEM: {"schema": _ref(schema)}},
    }


def _not_ready(schema: str) -> dict[str, Any]:
    """Return the answer 503 of a health endpoint: in its protocol's own form, or as a problem.

    The gateway sends a problem where it stops or gets no answer. Some generators read only the first of two content
    types, so the problem is named there too.
    """
    problem = _problem(503, schema)
    no = {"anyOf": [_ref("NotReady"), _ref("NotLive"), _ref(schema)]}
    return {**problem, "description": "No.", "content": {**_json(no), **problem["content"]}}


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
            "description": "Comes back with the answer. Without a well-formed one, the server makes one.",
            "schema": {"type": "string", "pattern": "^[A-Za-z0-9._:-]{1,128}$"},
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
    return {JSON: {"schema": schema, **({"example": example} if example else {})}}


def _headers(*names: str) -> dict[str, Any]:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


def _list(items: dict[str, Any], **limits: int) -> dict[str, Any]:
    return {"type": "array", "items": items, **limits}


def _object(properties: dict[str, Any], optional: tuple[str, ...] = ()) -> dict[str, Any]:
    required = [name for name in properties if name not in optional]
    return {"type": "object", "properties": properties, "required": required}


def _schemas(classes: list[str], names: Mapping[str, str]) -> dict[str, Any]:
    return {
        **_prediction_schemas(classes, names),
        **_v1_schemas(),
        **_v2_schemas(),
        **_health_schemas(),
        **_problem_schemas(),
    }


def _prediction_schemas(classes: list[str], names: Mapping[str, str]) -> dict[str, Any]:
    shown = {"x-display-names": dict(names)} if names else {}  # what the page calls the classes
    probability = {"type": "number", "minimum": 0, "maximum": 1}
    probabilities = {"type": "object", "propertyNames": {"enum": classes}, "additionalProperties": probability}
    return {
        "Form": _object({"file": BINARY}),
        "Label": {**TEXT, "enum": classes, **shown},
        "Probabilities": probabilities,
        "Model": _object({"name": TEXT, "version": TEXT, "sha256": TEXT}),
        "Answer": _object(
            {
                "label": _ref("Label"),
                "probability": probability,
                "probabilities": _ref("Probabilities"),
                "model": _ref("Model"),
            }
        ),
    }


def _v1_schemas() -> dict[str, Any]:
    picture = {"oneOf": [BASE64, _ref("V1Picture")]}
    return {
        "V1Picture": _object({"b64": BASE64}),
        "V1Request": _object({"instances": _list(picture, **INSTANCES)}),
        "V1Answer": _object({"predictions": _list(_ref("Answer"))}),
        "V1Models": _object({"models": _list(TEXT)}),
        "ModelReady": _object({"name": TEXT, "ready": BOOLEAN}),
    }


def _v2_schemas() -> dict[str, Any]:
    tensor = {"name": TEXT, "datatype": TEXT, "shape": _list(INTEGER)}
    picture = {
        "name": TEXT,
        "datatype": {"const": "BYTES"},
        "shape": _list({**INTEGER, "minimum": 1, "maximum": 32}, maxItems=4),
        "data": _list({"oneOf": [BASE64, _list(BASE64)]}, **INSTANCES),
    }
    values = _list({"oneOf": [TEXT, {"type": "number"}]})
    return {
        "V2Input": _object(picture),
        "V2Request": _object(
            {"id": {**TEXT, "maxLength": 256}, "inputs": _list(_ref("V2Input"), minItems=1, maxItems=1)}, ("id",)
        ),
        "V2Weights": _object({"sha256": TEXT}),
        "V2Classes": _object({"classes": TEXT}),
        "V2Output": _object({**tensor, "data": values, "parameters": _ref("V2Classes")}, ("parameters",)),
        "V2Answer": _object(
            {
                "model_name": TEXT,
                "model_version": TEXT,
                "id": TEXT,
                "parameters": _ref("V2Weights"),
                "outputs": _list(_ref("V2Output")),
            },
            ("id",),
        ),
        "V2Tensor": _object(tensor),
        "V2Parameters": _object({"classes": TEXT, "sha256": TEXT}),
        "V2Model": _object(
            {
                "name": TEXT,
                "versions": _list(TEXT),
                "platform": TEXT,
                "inputs": _list(_ref("V2Tensor")),
                "outputs": _list(_ref("V2Tensor")),
                "parameters": _ref("V2Parameters"),
            }
        ),
        "V2Server": _object({"name": TEXT, "version": TEXT, "extensions": _list(TEXT)}),
    }


def _health_schemas() -> dict[str, Any]:
    no = {"type": "boolean", "const": False}
    worker = {"id": TEXT, "startTime": {**TEXT, "format": "date-time"}, "status": TEXT, "pid": INTEGER}
    settings = ("batchSize", "maxBatchDelay", "responseTimeout", "startupTimeout", "maxRetryTimeoutInSec")
    return {
        "Document": {"type": "object"},
        "Ready": _object({"ready": BOOLEAN}),
        "WorkersReady": _object({"ready": BOOLEAN, "workers": INTEGER}),
        "NotReady": _object(
            {"ready": no, "name": TEXT, "workers": INTEGER, "reason": TEXT}, ("name", "workers", "reason")
        ),
        "Live": _object({"live": BOOLEAN}),
        "NotLive": _object({"live": no, "reason": TEXT}, ("reason",)),
        "Ping": _object({"status": {**TEXT, "enum": ["Healthy", "Unhealthy"]}}),
        "TorchServeModelName": _object({"modelName": TEXT, "modelUrl": TEXT}),
        "TorchServeModels": _object({"models": _list(_ref("TorchServeModelName"))}),
        "TorchServeWorker": _object(worker, ("startTime",)),
        "TorchServeModel": _object(
            {
                **dict.fromkeys(("modelName", "modelVersion", "modelUrl", "runtime"), TEXT),
                **dict.fromkeys(("minWorkers", "maxWorkers", *settings), INTEGER),
                "loadedAtStartup": BOOLEAN,
                "workers": _list(_ref("TorchServeWorker")),
            },
            settings,
        ),
    }


def _problem_schemas() -> dict[str, Any]:
    codes = [code for _, codes in PROBLEMS.values() for code in codes]
    members = {
        "type": TEXT,
        "title": TEXT,
        "status": INTEGER,
        "code": _ref("Code"),
        "detail": {**TEXT, "description": "A sentence for people that says what to do."},
        "request_id": {**TEXT, "description": "As in the header X-Request-Id."},
    }
    error = {**TEXT, "description": "The same as `detail`, for KServe's clients."}
    return {
        "Code": {**TEXT, "description": "A stable name for programs.", "enum": codes},
        "Problem": _object(members, ("request_id",)),
        "KServeProblem": _object({**members, "error": error}, ("request_id",)),
    }
