"""Pictures in base64, as JSON and text carry them: with line breaks, and perhaps as a `data:` URL."""

import base64
import binascii
import re

from handler.sniff import SPACE, is_picture

DATA_URL = re.compile(rb"data:[^,;\s]*(?:;[^,;\s]*)*;base64,", re.IGNORECASE)
# How many bytes of a text tell that it is base64, or is not.
HEAD = 64
START = re.compile(rb"[A-Za-z0-9+/=\s]*")


def from_base64(text: str | bytes) -> bytes | None:
    """The bytes that the text stands for; None where it is not base64.

    Whitespace and the head of a `data:` URL are passed over; anything else must be right, with its padding.
    """
    try:
        data = (text.encode("ascii") if isinstance(text, str) else text).translate(None, SPACE[:4])
        if url := DATA_URL.match(data[:1024]):
            data = data[url.end() :]
        return base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError):
        return None


def picture_in_text(body: bytes) -> bytes | None:
    """The picture that a body of base64 holds, with or without quotes; None where it holds none."""
    text = body.strip(SPACE)
    if len(text) >= 2 and text[:1] == text[-1:] == b'"':
        text = text[1:-1]
    if not (DATA_URL.match(text[:1024]) or START.fullmatch(text[:HEAD])):
        return None
    picture = from_base64(text)
    return picture if picture is not None and is_picture(picture) else None
