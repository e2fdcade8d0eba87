"""The answers to the golden pictures as a release recorded them, for clients that check a server."""

import math
from typing import Any

from handler.release import FEW, TOP, Release


def golden_answers(release: Release) -> dict[str, list[dict[str, Any]]]:
    """Return an answer for each of the four golden pictures, by precision, without the model's facts.

    They name as many classes as an answer of the server does.
    """
    return {
        precision: [answer_of(release.classes, logits) for logits in rows]
        for precision, rows in release.golden_logits.items()
    }


def answer_of(classes: list[str], logits: list[float]) -> dict[str, Any]:
    """Return the label, its probability and the probabilities that logits mean."""
    most = max(logits)
    shares = [math.exp(logit - most) for logit in logits]
    total = math.fsum(shares)
    probabilities = [round(share / total, 6) for share in shares]
    order = list(range(len(classes)))
    if len(classes) > FEW:
        order = sorted(order, key=lambda index: -logits[index])[:TOP]
    best = logits.index(most)
    return {
        "label": classes[best],
        "probability": probabilities[best],
        "probabilities": {classes[index]: probabilities[index] for index in order},
    }
