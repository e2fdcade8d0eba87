"""The REST API as OpenAPI 3.1, for the model that is served: what /openapi.json answers and /docs shows.

Generators of clients read less than the standard allows. So every object has a name of its own, a body is plain bytes
or a form, and all problem documents are one schema, whose codes each answer's description names.
"""

from collections.abc import Mapping
from itertools import product
from typing import Any

from serving.client.answers import some_of
from serving.gateway.openapi.explanations import explanation_paths
from serving.gateway.openapi.images import image_paths
from serving.gateway.openapi.parts import INTEGER, TEXT
from serving.gateway.openapi.paths import feedback_paths, metrics_paths, prediction_paths, question_paths
from serving.gateway.openapi.problems import responses
from serving.gateway.openapi.schemas import schemas

TAGS = {
    "predictions": "Send a picture, get a label with its probability.",
    "explanations": "See where in a picture the network saw a class.",
    "kserve": "The same, and questions about the model, in KServe's protocols v1 and v2.",
    "health": "Questions about the server, which need no key.",
}

# Extension that holds facts about the model, for pages.
MODEL = "x-model"
# Extension that holds the answers to the golden pictures.
GOLDEN = "x-golden-answers"
FEEDBACK_TAG = {"feedback": "Correct a wrong prediction."}
IMAGES_TAG = {"images": "Have a picture resized, cropped or normalized, or see what the network sees of it."}


def file_name(feedback: bool = False, images: bool = False, metrics: bool = False) -> str:
    """Return the name of the file in the run folder that has the description of a server with these options."""
    return f"openapi{'-feedback' * feedback}{'-images' * images}{'-metrics' * metrics}.json"


def documents(model: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the descriptions for all options of the gateway, by the name of their file."""
    return {file_name(*options): document(model, *options) for options in product((False, True), repeat=3)}


def document(
    model: Mapping[str, Any], feedback: bool = False, images: bool = False, metrics: bool = False
) -> dict[str, Any]:
    """The whole description.

    Args:
        model: as `serving.server.archive.Archive.facts` gives it.
        feedback: whether the server takes feedback.
        images: whether it has image operations.
        metrics: whether its port of REST has the metrics too.
    """
    tags = TAGS | (FEEDBACK_TAG if feedback else {}) | (IMAGES_TAG if images else {})
    name, version, classes = model["name"], model["version"], model["classes"]
    golden, unsure = model.get("golden") or {}, bool(model.get("unsure"))
    return {
        "openapi": "3.1.0",
        "info": {
            "title": name,
            "version": model["server"],
            "summary": f"Tells {some_of(classes)} apart.",
            "description": f"Send a picture, get a label with its probability, by version {version} of the model "
            f"{name}. Errors are problem documents (RFC 9457) with a stable `code`. What answers GET answers HEAD too, "
            "without a body.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
            MODEL: {"version": version, "card": bool(model.get("card"))},
            **({GOLDEN: _golden(model, golden)} if golden else {}),
        },
        # Relative to this document, so that it holds behind a proxy that takes away a prefix.
        "servers": [{"url": "."}],
        "security": [{}, {"key": []}],
        "tags": [{"name": tag, "description": text} for tag, text in tags.items()],
        "paths": {
            **prediction_paths(name, version, len(classes), unsure),
            **explanation_paths(name, version, len(classes), unsure),
            **question_paths(name, version),
            **(feedback_paths() if feedback else {}),
            **(image_paths() if images else {}),
            **(metrics_paths() if metrics else {}),
        },
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
            "responses": responses(feedback, images),
            "schemas": schemas(classes, model.get("names") or {}, feedback, images, _example(model, golden), unsure),
        },
    }


def _golden(model: Mapping[str, Any], golden: Mapping[str, Any]) -> dict[str, Any]:
    """The answers that the golden pictures must get, which `catsdogs check` compares."""
    answers = {
        precision: [{key: row[key] for key in ("label", "probability")} for row in rows]
        for precision, rows in golden.items()
    }
    return {"size": model["size"], "sha256": model["sha256"], "answers": answers}


def _example(model: Mapping[str, Any], golden: Mapping[str, Any]) -> dict[str, Any] | None:
    """An answer of this model, to the first golden picture."""
    for precision, rows in golden.items():
        facts = {"name": model["name"], "version": model["version"], "precision": precision, "sha256": model["sha256"]}
        return {**rows[0], "model": facts}
    return None
