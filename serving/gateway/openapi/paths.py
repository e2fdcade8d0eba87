"""The paths, and what may be sent to each."""

from functools import partial
from typing import Any

from handler.release import FEW, TOP
from serving.gateway.openapi.parts import (
    BINARY,
    BOOLEAN,
    EXPOSITION,
    FORM,
    OCTETS,
    TEXT,
    array,
    header_refs,
    json_content,
    ref,
)
from serving.gateway.openapi.problems import PROBLEMS, feedback_refs, problem_refs

# The smallest picture that is answered: one black pixel, as PNG in base64.
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR42mNgAAAAAgAB5Sfe/AAAAABJRU5ErkJggg=="
V1_EXAMPLE = {"instances": [{"b64": PIXEL}]}
V2_EXAMPLE = {"inputs": [{"name": "image", "datatype": "BYTES", "shape": [1], "data": [PIXEL]}]}

PICTURE = {
    "required": True,
    "description": "The bytes of a picture, whatever content type the request names, or a form with one file.",
    "content": {OCTETS: {"schema": BINARY}, FORM: {"schema": ref("Form")}},
}
UNSURE = {
    "name": "unsure",
    "in": "query",
    "description": "Whether the answer has the member `unsure`. By default, as the server was started.",
    "schema": BOOLEAN,
}


def prediction_paths(name: str, version: str, classes: int, unsure: bool = False) -> dict[str, Any]:
    raw = PICTURE
    v1 = {"required": True, "content": json_content(ref("V1Request"), V1_EXAMPLE)}
    v2 = {"required": True, "content": json_content(ref("V2Request"), V2_EXAMPLE)}
    versioned = {"parameters": [version_parameter(version)]}
    sent = partial(_sent, parameters(classes, unsure))
    return {
        f"/predictions/{name}": sent("predict", "Classify a picture", raw, "Answer"),
        "/predictions": sent("predictDefault", "Classify a picture, by the model that is served", raw, "Answer"),
        "/predict": sent("predictAlias", "The same as /predictions, under a shorter name", raw, "Answer"),
        f"/predictions/{name}/{{version}}": {
            **versioned,
            **sent("predictVersion", "Classify a picture by a version of the model", raw, "Answer"),
        },
        f"/v1/models/{name}:predict": sent("predictV1", "KServe v1: classify pictures in base64", v1, "V1Answer"),
        f"/v2/models/{name}/infer": sent("inferV2", "KServe v2: classify pictures in base64", v2, "V2Answer"),
        f"/v2/models/{name}/versions/{{version}}/infer": {
            **versioned,
            **sent("inferV2Version", "KServe v2: the same by a version of the model", v2, "V2Answer"),
        },
    }


def question_paths(name: str, version: str) -> dict[str, Any]:
    v1, v2, versioned = f"/v1/models/{name}", f"/v2/models/{name}", {"parameters": [version_parameter(version)]}
    ping = _asked("ping", "health", "The same in TorchServe's words", ref("Ping"))
    ping["get"]["responses"]["500"] = _answer("No.", ref("Ping"))
    described = array(ref("TorchServeModel"))
    return {
        "/v1/models": _asked("listModels", "kserve", "KServe v1: the models", ref("V1Models")),
        v1: _asked("readyV1", "kserve", "KServe v1: can the model answer?", ref("ModelReady")),
        "/v2": _asked("server", "kserve", "KServe v2: the server", ref("V2Server")),
        "/v2/health/live": _asked("liveV2", "kserve", "KServe v2: is the server there?", ref("Live")),
        "/v2/health/ready": _asked("readyV2", "kserve", "KServe v2: can it answer?", ref("Ready")),
        v2: _asked("metadata", "kserve", "KServe v2: the model, its input and outputs", ref("V2Model")),
        f"{v2}/ready": _asked("modelReadyV2", "kserve", "KServe v2: can the model answer?", ref("ModelReady")),
        f"{v2}/versions/{{version}}": {
            **versioned,
            **_asked("metadataVersion", "kserve", "KServe v2: a version of the model", ref("V2Model"), 404),
        },
        f"{v2}/versions/{{version}}/ready": {
            **versioned,
            **_asked(
                "versionReadyV2", "kserve", "KServe v2: can a version of the model answer?", ref("ModelReady"), 404
            ),
        },
        "/models": _asked("models", "health", "The models, as TorchServe lists them", ref("TorchServeModels")),
        f"/models/{name}": _asked("describeModel", "health", "The model, as TorchServe describes it", described),
        f"/models/{name}/{{version}}": {
            **versioned,
            **_asked("describeVersion", "health", "A version of the model, as TorchServe describes it", described, 404),
        },
        "/readyz": _asked("ready", "health", "Can a worker answer?", ref("WorkersReady")),
        "/health": _asked("health", "health", "The same as /readyz, under another name", ref("WorkersReady")),
        "/livez": _asked("live", "health", "Is the server there?", ref("Live")),
        "/ping": ping,
        "/openapi.json": _asked("openapi", "health", "This document", ref("Document")),
    }


def feedback_paths() -> dict[str, Any]:
    """The path for feedback, where the server takes it."""
    body = {
        "required": True,
        "description": "The token of a prediction and the right label; the picture only if the server stores pictures.",
        "content": {**json_content(ref("Feedback")), FORM: {"schema": ref("FeedbackForm")}},
    }
    given = {
        "operationId": "giveFeedback",
        "tags": ["feedback"],
        "summary": "Give the right label of a picture",
        "requestBody": body,
        "responses": {"200": _answer("The label is stored.", ref("FeedbackTaken")), **feedback_refs()},
    }
    terms = _asked(
        "feedbackTerms", "feedback", "Which labels are allowed, and are pictures stored?", ref("FeedbackTerms")
    )
    return {"/feedback": {**terms, "post": given}}


def metrics_paths() -> dict[str, Any]:
    """The path of the metrics, where they are on the port of REST too; unlike questions, they may need a key."""
    scrape = {
        "description": "The metrics.",
        "headers": header_refs("X-Request-Id"),
        "content": {EXPOSITION: {"schema": TEXT}},
    }
    described = {
        "operationId": "metrics",
        "tags": ["health"],
        "summary": "The metrics, in Prometheus' text format",
        "responses": {"200": scrape, **problem_refs(False, 401, 405, 421, 503, 504)},
    }
    return {"/metrics": {"get": described}}


def _sent(
    taken: list[dict[str, Any]], operation: str, summary: str, body: dict[str, Any], answer: str
) -> dict[str, Any]:
    """A path that pictures are sent to; PUT is what `curl -T` sends."""
    kserve = answer != "Answer"
    described = {
        "tags": ["kserve" if kserve else "predictions"],
        "summary": summary,
        "parameters": taken,
        "requestBody": body,
        "responses": {"200": _answer("The prediction.", ref(answer)), **problem_refs(kserve, *PROBLEMS)},
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
        **problem_refs(kserve, *others, 405, 421, 504),
        "503": {"$ref": f"#/components/responses/{'KServe' * kserve}NotReady"},
    }
    described = {"operationId": operation, "tags": [tag], "summary": summary, "security": [], "responses": responses}
    return {"get": described}


def _answer(text: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": text, "headers": header_refs("X-Request-Id"), "content": json_content(schema)}


def parameters(classes: int, unsure: bool = False) -> list[dict[str, Any]]:
    """Return the parameters of predictions.

    Args:
        unsure: whether the model has a threshold for unsure answers.
    """
    return [
        *([UNSURE] if unsure else []),
        {
            "name": "top_k",
            "in": "query",
            "description": f"How many of the model's {classes} classes the answer names, the most probable first. By "
            f"default {TOP if classes > FEW else 'all, in the order of the classes'}.",
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


def version_parameter(version: str) -> dict[str, Any]:
    return {
        "name": "version",
        "in": "path",
        "required": True,
        "schema": {"type": "string", "pattern": "^[0-9A-Za-z._-]+$", "examples": [version]},
    }
