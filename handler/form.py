"""The parts of a form (multipart/form-data, RFC 7578).

TorchServe can take a form apart too, but calls one that it cannot read its own failure.
"""

import re
from dataclasses import dataclass

from handler.problem import Problem

# A form has a picture and a few parameters; each part costs memory, however small it is.
MAX_PARTS = 100
NAME, FILE = (
    re.compile(rb'[;\s]%s\*?=\s*("(?:[^"\\]|\\.)*"|[^;\r\n]*)' % word, re.IGNORECASE) for word in (b"name", b"filename")
)
TYPE = re.compile(rb"^content-type:[ \t]*([^;\r\n]*)", re.IGNORECASE | re.MULTILINE)
DISPOSITION = re.compile(rb"^content-disposition:([^\r\n]*)", re.IGNORECASE | re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Part:
    """One field of a form, or of a TorchServe request."""

    name: str
    content: bytes
    is_file: bool = False
    """Whether the client says that it is one, by a file name or a type."""


def form_parts(body: bytes, boundary: str) -> list[Part]:
    """The parts, in order.

    Args:
        boundary: as the content type names it; TorchServe gives headers as Latin-1.

    Raises:
        Problem: 400 no_image, it is no form, is cut off, or has too many parts.
    """
    mark = b"--" + boundary.encode("latin-1", "replace")
    delimiter = re.compile(rb"(?:\A|\r\n)" + re.escape(mark) + rb"(?=--|[ \t]*\r\n)")
    parts: list[Part] = []
    last = delimiter.search(body)
    while last is not None and not body.startswith(b"--", last.end()):
        following = delimiter.search(body, last.end())
        if following is None:
            break
        if len(parts) == MAX_PARTS:
            raise Problem(400, "no_image", f"The form has more than {MAX_PARTS} parts: send one picture per request.")
        parts.append(_part(body, last.end(), following.start()))
        last = following
    if last is None or not body.startswith(b"--", last.end()):
        raise Problem(400, "no_image", "The form cannot be read: the boundary that ends it is not in the body.")
    return parts


def _part(body: bytes, start: int, end: int) -> Part:
    blank = body.find(b"\r\n\r\n", start, end)
    if blank < 0:
        raise Problem(400, "no_image", "The form cannot be read: a part of it has no end to its headers.")
    headers = body[start:blank]
    match = DISPOSITION.search(headers)
    disposition = match[1] if match else b""
    name, kind = NAME.search(disposition), TYPE.search(headers)
    is_file = FILE.search(disposition) is not None
    if kind and kind[1].strip().lower().startswith((b"image/", b"application/octet-stream")):
        is_file = True
    text = name[1].strip(b'" ').decode("utf-8", "replace") if name else ""
    return Part(text, body[blank + 4 : end], is_file)
