"""The server's answers as a client reads them, with the standard library alone.

A prediction says the same thing three times: the label, its probability, and the probabilities of all classes. An
answer whose parts contradict each other is wrong whatever the picture shows.
"""

import json
import math
from collections.abc import Iterable, Mapping
from typing import Any

from serving.wire import WireError, read_bytes_field, read_fields

# Probabilities are rounded to six digits, and a thousand of them add up.
ROUNDING = 0.01
# An answer that is asked for no number of classes names so many where there are many, and otherwise all.
TOP = 5

STATUS_DETAILS = "grpc-status-details-bin"
HTTP_BODY = b"type.googleapis.com/google.api.HttpBody"
# Fields of PredictionResponse, of google.rpc.Status, of google.protobuf.Any and of google.api.HttpBody.
PREDICTION, DETAILS, TYPE_URL, VALUE, DATA = 1, 3, 1, 2, 2


class Contradiction(Exception):
    """An answer whose label, probability and probabilities do not go together. Its text names the kind."""


def check_consistent(label: str, probability: float, probabilities: Mapping[str, float]) -> None:
    """Compare the three parts of a prediction with each other.

    Raises:
        Contradiction: the label is no class, or not the most probable one; its probability is another; or the
            probabilities do not sum to 1, or to less where these may be the first of many.
    """
    if label not in probabilities:
        raise Contradiction("the label is none of the classes")
    # Compared so that what is not a number fails.
    if not all(0 <= share <= 1 for share in probabilities.values()) or not 0 <= probability <= 1:
        raise Contradiction("a probability is not between 0 and 1")
    if probabilities[label] < max(probabilities.values()):
        raise Contradiction("the label is not the most probable class")
    if abs(probabilities[label] - probability) > ROUNDING:
        raise Contradiction("the label has two probabilities")
    total = math.fsum(probabilities.values())
    if total > 1 + ROUNDING or (total < 1 - ROUNDING and len(probabilities) != TOP):
        raise Contradiction("the probabilities do not sum to 1")


def is_class(classes: str, name: str) -> bool:
    """Is this one of the model's classes, whatever its case?

    Args:
        classes: joined by commas, as the metadata of KServe v2 has them; one may have a comma in its own name.
    """
    return f",{name.lower()}," in f",{classes.lower()},"


def some_of(names: Iterable[str], most: int = 5) -> str:
    """Name the first few, and the number of the others."""
    listed = list(names)
    more = f" and {len(listed) - most} more" if len(listed) > most else ""
    return ", ".join(listed[:most]) + more


def read_reply(message: bytes) -> Any:
    """Return the JSON document in a PredictionResponse.

    Raises:
        ValueError: the message is broken, or holds no JSON.
    """
    return json.loads(read_bytes_field(message, PREDICTION))


def read_problem(details: bytes) -> dict[str, Any] | None:
    """Return the problem document in a google.rpc.Status, or None where there is none that can be read.

    Args:
        details: the value of the trailing metadata `grpc-status-details-bin`.
    """
    try:
        for number, detail in read_fields(details):
            if number == DETAILS and isinstance(detail, memoryview) and read_bytes_field(detail, TYPE_URL) == HTTP_BODY:
                document = json.loads(read_bytes_field(read_bytes_field(detail, VALUE), DATA))
                return document if isinstance(document, dict) else None
    except (WireError, ValueError):
        return None
    return None
