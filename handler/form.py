"""The parts of a form (multipart/form-data, RFC 7578).

TorchServe can take a form apart too, but calls one that it cannot read its own failure.
"""

import re

from handler.problem import Problem


def form_parts(body: bytes, boundary: str) -> list[bytes]:
    """The contents of the parts, in order.

    Args:
        boundary: as the content type names it; TorchServe gives headers as Latin-1.

    Raises:
        Problem: 400 no_image, it is no form, or is cut off.
    """
    delimiter = rb"\r\n--" + re.escape(boundary.encode("latin-1", "replace")) + rb"(?=--|[ \t]*\r\n)"
    _, *parts = re.split(delimiter, b"\r\n" + body)
    contents: list[bytes] = []
    for part in parts:
        if part.startswith(b"--"):
            return contents
        _, blank, content = part.partition(b"\r\n\r\n")
        if not blank:
            raise Problem(400, "no_image", "The form cannot be read: a part of it has no end to its headers.")
        contents.append(content)
    raise Problem(400, "no_image", "The form cannot be read: the boundary that ends it is not in the body.")
