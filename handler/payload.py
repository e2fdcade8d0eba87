"""One row of a TorchServe batch -> the bytes of its picture.

A raw body arrives under `body`, a form's file under its field name, a gRPC input under `data`.
"""

from collections.abc import Mapping

from handler.problem import Problem


def image_bytes(row: Mapping[str, object]) -> bytes:
    """The one picture of a request.

    Raises:
        Problem: 400, there is none, or more than one.
    """
    parts = [value for value in row.values() if isinstance(value, (bytes, bytearray)) and value]
    if len(parts) > 1:
        raise Problem(400, "no_image", "The form has more than one file: send one picture per request.")
    if parts:
        return bytes(parts[0])
    if any(not isinstance(value, (bytes, bytearray)) for value in row.values()):
        raise Problem(400, "bad_json", "The body is text or JSON: send the bytes of a picture.")
    raise Problem(400, "no_image", "The request has no picture in it: send the bytes of a JPEG, PNG or WebP.")
