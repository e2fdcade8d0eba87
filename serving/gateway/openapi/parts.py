"""The small parts of which the description is made."""

from typing import Any

OCTETS, FORM = "application/octet-stream", "multipart/form-data"
JSON, PROBLEM = "application/json", "application/problem+json"
# Prometheus' text format, as `serving.telemetry.exposition` writes it.
EXPOSITION = "text/plain; version=0.0.4; charset=utf-8"
TEXT, BOOLEAN, INTEGER = {"type": "string"}, {"type": "boolean"}, {"type": "integer"}
BINARY = {"type": "string", "format": "binary"}
BASE64 = {"type": "string", "contentEncoding": "base64"}


def ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


def array(items: dict[str, Any], **limits: int) -> dict[str, Any]:
    return {"type": "array", "items": items, **limits}


def obj(properties: dict[str, Any], optional: tuple[str, ...] = ()) -> dict[str, Any]:
    required = [name for name in properties if name not in optional]
    return {"type": "object", "properties": properties, "required": required}


def json_content(schema: dict[str, Any], example: dict[str, Any] | None = None) -> dict[str, Any]:
    return {JSON: {"schema": schema, **({"example": example} if example else {})}}


def header_refs(*names: str) -> dict[str, Any]:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}
