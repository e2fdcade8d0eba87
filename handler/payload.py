"""One row of a TorchServe batch -> the pictures that it asks about, and how to word the answer.

A raw body and a form arrive under `body`, a gRPC input under `data`; without the gateway TorchServe puts a form's
file under its field name. Which protocol a request speaks, whether its body is a form, how many classes it wants and
how long it will wait, the gateway says in headers of its own.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from handler import kserve
from handler.form import form_parts
from handler.problem import Problem
from handler.release import Release

PROTOCOL = "x-catsdogs-protocol"
BOUNDARY = "x-catsdogs-boundary"
TOP_K = "x-top-k"
STARTED = "x-request-start"
TIMEOUT = "x-timeout-ms"

Answers = Sequence[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Request:
    """What one row asks: encoded pictures in order, how many classes each answer names (None: the release's usual
    number), and the document that is made of the answers."""

    pictures: list[bytes]
    top_k: int | None
    word: Callable[[Answers], dict[str, Any]]


def read_request(row: Mapping[str, object], headers: Mapping[str, str], release: Release) -> Request:
    """Reads one row.

    Args:
        headers: by lower-cased name; gRPC rows have none.

    Raises:
        Problem: 400 for what cannot be understood, 504 where the client no longer waits.
    """
    check_deadline(headers, time.time())
    top_k = read_top_k(headers)
    protocol = headers.get(PROTOCOL)
    body = image_bytes(row)
    if boundary := headers.get(BOUNDARY):
        body = image_bytes({str(number): part for number, part in enumerate(form_parts(body, boundary))})
    if protocol == "v1":
        return Request(kserve.read_v1(body), top_k, kserve.write_v1)
    if protocol == "v2":
        pictures, name = kserve.read_v2(body)
        # A tensor has a column for every class.
        return Request(pictures, len(release.classes), lambda answers: kserve.write_v2(answers, name, release))
    return Request([body], top_k, lambda answers: answers[0])


def image_bytes(row: Mapping[str, object]) -> bytes:
    """The one part of a request that has a body.

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


def read_top_k(headers: Mapping[str, str]) -> int | None:
    text = headers.get(TOP_K, "")
    if not text:
        return None
    # isdecimal alone would let Arabic digits pass, and int() a number of a million digits.
    if not (text.isascii() and text.isdecimal() and len(text) <= 4 and int(text) > 0):
        raise Problem(400, "bad_request", "top_k must be a whole number from 1 on.")
    return int(text)


def check_deadline(headers: Mapping[str, str], now: float) -> None:
    """Refuses what the client has given up: it waited in the queue for longer than it said it would.

    Raises:
        Problem: 504 deadline, or 400 for a time-out that is no number.
    """
    timeout, started = headers.get(TIMEOUT, ""), headers.get(STARTED, "")
    if not timeout:
        return
    if not (timeout.isascii() and timeout.isdecimal() and len(timeout) <= 9):
        raise Problem(400, "bad_request", "X-Timeout-Ms must be a whole number of milliseconds.")
    if started.isascii() and started.isdecimal() and len(started) <= 15 and 1000 * now - int(started) > int(timeout):
        raise Problem(504, "deadline", f"The request waited for longer than its {timeout} ms.")
