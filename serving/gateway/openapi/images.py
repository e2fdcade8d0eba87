"""The paths of image operations, where the server has them."""

from typing import Any

from serving.gateway.openapi.parts import BINARY, FORM, INTEGER, JSON, OCTETS, TEXT, array, header_refs, obj, ref
from serving.gateway.openapi.problems import image_refs
from serving.images.parameters import FORMATS, MAX_SIDE, TAKEN

PNG = "image/png"
NUMBER = {"type": "number"}
SUMMARIES = {
    "resize": "Scale a picture to a width, a height or both",
    "crop": "Cut a rectangle out of a picture",
    "grayscale": "Take the colours out of a picture",
    "normalize": "Have a picture as the normalized numbers that the network computes with",
    "show-input": "See exactly what the network sees of a picture",
}
PARAMETERS = {
    "width": "Width of the result in pixels.",
    "height": "Height of the result in pixels.",
    "left": "Columns to the left of the rectangle; by default it is in the middle.",
    "top": "Rows above the rectangle; by default it is in the middle.",
    "mean": "What is taken out of red, green and blue: three numbers with commas between them.",
    "std": "What is divided by afterwards, in the same form.",
    "format": "Format of the result; npy is NumPy's format for an array.",
}
# Values to try an operation with, which fit any picture that is not tiny.
EXAMPLES = {("resize", "width"): 320, ("crop", "width"): 100, ("crop", "height"): 100}
CONTENT = {
    "png": (PNG, BINARY),
    "json": (JSON, ref("NormalizedPicture")),
    "npy": (OCTETS, BINARY),
}


def image_paths() -> dict[str, Any]:
    """Return a path for each operation."""
    return {f"/images/{operation}": _path(operation) for operation in TAKEN}


def image_schemas() -> dict[str, Any]:
    rows = array(array(array(NUMBER)))
    return {
        "NormalizedPicture": obj(
            {"shape": array(INTEGER), "dtype": TEXT, "mean": array(NUMBER), "std": array(NUMBER), "data": rows}
        )
    }


def _path(operation: str) -> dict[str, Any]:
    formats = FORMATS.get(operation, ("png",))
    result = {
        "description": "The result.",
        "headers": header_refs("X-Request-Id"),
        "content": {kind: {"schema": schema} for kind, schema in (CONTENT[name] for name in formats)},
    }
    described = {
        "tags": ["images"],
        "summary": SUMMARIES[operation],
        "parameters": [_parameter(operation, name) for name in TAKEN[operation]],
        "requestBody": {
            "required": True,
            "description": "The bytes of a picture, or a form with one file.",
            "content": {OCTETS: {"schema": BINARY}, FORM: {"schema": ref("Form")}},
        },
        "responses": {"200": result, **image_refs()},
    }
    name = "".join(part.title() for part in operation.split("-"))
    return {
        "post": {"operationId": f"image{name}", **described},
        "put": {"operationId": f"image{name}ByPut", **described},
    }


def _parameter(operation: str, name: str) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "integer", "minimum": 1 if name in ("width", "height") else 0}
    schema["maximum"] = MAX_SIDE
    if name in ("mean", "std"):
        schema = TEXT
    if name == "format":
        schema = {**TEXT, "enum": list(FORMATS[operation]), "default": FORMATS[operation][0]}
    if example := EXAMPLES.get((operation, name)):
        schema["examples"] = [example]
    return {"name": name, "in": "query", "description": PARAMETERS[name], "schema": schema}
