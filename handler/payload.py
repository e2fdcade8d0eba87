"""Requests: the pictures that one row of a TorchServe batch asks about, and the form of their answer.

A raw body and a form arrive under `body`, a gRPC input under `data`; without the gateway TorchServe puts a form's
file under its field name. Which protocol a request speaks, whether its body is a form, how many classes it wants and
how long it will wait, the gateway says in headers of its own.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from handler import kserve
from handler.base64_text import picture_in_text
from handler.counts import EXPLANATION
from handler.explanation import Explanation
from handler.form import Part, form_parts
from handler.problem import Problem
from handler.release import Release
from handler.sniff import is_picture, kind_of

PROTOCOL = "x-catsdogs-protocol"
BOUNDARY = "x-catsdogs-boundary"
TOP_K = "x-top-k"
STARTED = "x-request-start"
TIMEOUT = "x-timeout-ms"
FEEDBACK = "x-catsdogs-feedback"
# The one parameter that a form or a gRPC request may have beside its picture; others are passed over.
TOP_K_FIELD = "top_k"

Answers = Sequence[dict[str, Any]]


@dataclass(slots=True)
class Request:
    """The content of one row of a batch: its pictures, and how its answer is to be given."""

    pictures: list[bytes]
    """Encoded, in order. They are removed once they are decoded."""
    top_k: int | None
    """Number of classes that each answer names; None stands for the release's usual number."""
    word: Callable[[Answers], Any]
    count: int = field(init=False)
    """Number of pictures, also after they are removed."""
    traffic: str = "user"
    """Whose request it is: see handler/counts.py."""
    features: list[dict[str, float] | None] = field(default_factory=list)
    """Statistics of each picture; None for one that is not measured."""
    unsure: bool = False
    """Whether its answers say whether they are unsure."""
    explanation: Explanation | None = None
    """The explanation that is asked for, where one is."""
    digests: list[str] | None = None
    """The sha256 of each picture, where the gateway takes feedback; else None."""

    def __post_init__(self) -> None:
        self.count = len(self.pictures)

    def note(self, picture: bytes) -> None:
        """Note what the answer must say of a picture, before it is let go.

        Raises:
            Problem: as `Explanation.look`.
        """
        if self.explanation is not None:
            self.explanation.look(picture)
        if self.digests is not None:
            self.digests.append(sha256(picture).hexdigest())

    def explain_by(self, explanation: Explanation) -> None:
        """Have the picture explained.

        Raises:
            Problem: 400, there are several.
        """
        if self.count != 1:
            raise Problem(400, "bad_json", "An explanation is of one picture: send one instance.")
        self.explanation, self.traffic, self.word = explanation, EXPLANATION, lambda answers: answers[0]

    def answer(self, answers: Answers) -> Any:
        """Return the document that answers the request."""
        for digest, answer in zip(self.digests or (), answers, strict=False):
            model = answer["model"]
            # What the gateway signs: see serving/feedback/token.py.
            answer["feedback"] = [
                digest,
                answer["label"],
                answer["probability"],
                *(model[name] for name in ("name", "version", "sha256", "precision")),
            ]
        return self.word(answers)


def read_request(row: Mapping[str, object], headers: Mapping[str, str], release: Release) -> Request:
    """Reads one row, and empties its bodies: as large as they may be, a batch of them is worth its memory.

    Args:
        headers: by lower-cased name; gRPC rows have none.

    Raises:
        Problem: 400 for what cannot be understood, 504 where the client no longer waits.
    """
    check_deadline(headers, time.time())
    top_k = read_top_k(headers.get(TOP_K, ""))
    parts = row_parts(row)
    protocol = headers.get(PROTOCOL)
    if boundary := headers.get(BOUNDARY):
        parts = form_parts(parts[0].content if parts else b"", boundary)
    body, wanted = choose_picture(parts, is_form=bool(boundary))
    del parts
    if top_k is None and wanted:
        top_k = read_top_k(wanted)
    if protocol == "v1":
        return Request(kserve.read_v1(body), top_k, kserve.write_v1)
    if protocol == "v2":
        v2_request = kserve.read_v2(body)
        # A tensor has a column for every class.
        return Request(
            v2_request.pictures, len(release.classes), lambda answers: kserve.write_v2(answers, v2_request, release)
        )
    if is_picture(body):
        return Request([body], top_k, lambda answers: answers[0])
    if kind_of(body) == "JSON" and b'"instances"' in body:
        # As TorchServe's own handlers answer: a list.
        return Request(kserve.read_v1(body), top_k, list)
    return Request([picture_in_text(body) or body], top_k, lambda answers: answers[0])


def row_parts(row: Mapping[str, object]) -> list[Part]:
    """The fields of a TorchServe request that hold something; each is emptied once it is copied.

    Raises:
        Problem: 400, one is not bytes.
    """
    parts = []
    for name, value in row.items():
        if isinstance(value, (bytes, bytearray)):
            content = bytes(value)
            if isinstance(value, bytearray):
                value.clear()
            parts.append(Part(name, content))
        else:
            raise Problem(400, "bad_json", "The body is text or JSON: send the bytes of a picture.")
    return [part for part in parts if part.content]


def choose_picture(parts: Sequence[Part], is_form: bool = False) -> tuple[bytes, str]:
    """The content of the one part that is a file or a picture, and the text of the field `top_k`, empty if none.

    Raises:
        Problem: 400, there is none, or more than one.
    """
    wanted = ""
    if len(parts) > 1:
        texts = [part.content for part in parts if part.name == TOP_K_FIELD and not part.is_file]
        wanted = texts[0][:16].decode("latin-1").strip() if texts else ""
        parts = [part for part in parts if part.name != TOP_K_FIELD or part.is_file]
    parts = [part for part in parts if part.content]
    files = [part for part in parts if part.is_file or is_picture(part.content)] or parts
    if len(files) == 1:
        return files[0].content, wanted
    if not files:
        what = "form has no file" if is_form else "request has no picture"
        raise Problem(400, "no_image", f"The {what} in it: send the bytes of a JPEG, PNG or WebP.")
    if any(part.is_file or is_picture(part.content) for part in files):
        raise Problem(400, "no_image", f"There are {len(files)} files: send one picture per request.")
    raise Problem(
        400, "no_image", "There are text fields and no file: send the picture as a file, for example curl -F."
    )


def read_top_k(text: str) -> int | None:
    if not text:
        return None
    # isdecimal alone would let Arabic digits pass, and int() a number of a million digits.
    if not (text.isascii() and text.isdecimal() and len(text) <= 4 and int(text) > 0):
        raise Problem(400, "bad_request", "top_k must be a whole number from 1 to 9999.")
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
