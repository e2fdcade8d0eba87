"""The paths of explanations."""

from typing import Any

from serving.gateway.openapi.parts import BINARY, INTEGER, array, header_refs, json_content, obj, ref
from serving.gateway.openapi.paths import PICTURE, parameters, version_parameter
from serving.gateway.openapi.problems import explanation_refs

NUMBER = {"type": "number"}


def explanation_paths(name: str, version: str, classes: int, unsure: bool = False) -> dict[str, Any]:
    taken = [*_own_parameters(), *parameters(classes, unsure)]
    return {
        f"/explanations/{name}": _path("explain", "Explain a prediction", taken),
        "/explanations": _path("explainDefault", "Explain a prediction of the model that is served", taken),
        f"/explanations/{name}/{{version}}": {
            "parameters": [version_parameter(version)],
            **_path("explainVersion", "Explain a prediction of a version of the model", taken),
        },
    }


def explanation_schemas() -> dict[str, Any]:
    """Return the schemas of an explanation."""
    values = {
        **array(array(NUMBER)),
        "description": "Rows from the top. Each number is what a part of the area adds to the logit, and their mean is "
        "the logit less the bias.",
    }
    return {
        "Size": obj({"width": INTEGER, "height": INTEGER}),
        "Area": {
            **obj({"left": INTEGER, "top": INTEGER, "width": INTEGER, "height": INTEGER}),
            "description": "The part of the upright picture that the map covers, in pixels.",
        },
        "Explanation": obj(
            {
                "class": ref("Label"),
                "map": values,
                "logit": NUMBER,
                "bias": NUMBER,
                "picture": ref("Size"),
                "area": ref("Area"),
                "prediction": ref("Answer"),
            }
        ),
    }


def _path(operation: str, summary: str, taken: list[dict[str, Any]]) -> dict[str, Any]:
    described = {
        "tags": ["explanations"],
        "summary": summary,
        "parameters": taken,
        "requestBody": PICTURE,
        "responses": {
            "200": {
                "description": "The class activation map, or the picture with the map over it.",
                "headers": header_refs("X-Request-Id"),
                "content": {**json_content(ref("Explanation")), "image/png": {"schema": BINARY}},
            },
            **explanation_refs(),
        },
    }
    return {
        "post": {"operationId": operation, **described},
        "put": {"operationId": f"{operation}ByPut", **described},
    }


def _own_parameters() -> list[dict[str, Any]]:
    return [
        {
            "name": "class",
            "in": "query",
            "description": "The class that is explained. By default the predicted one.",
            "schema": ref("Label"),
        },
        {
            "name": "format",
            "in": "query",
            "description": "By default json, or png where the header Accept prefers image/png.",
            "schema": {"type": "string", "enum": ["json", "png"]},
        },
    ]
