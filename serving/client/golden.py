"""The golden pictures: four patterns whose answers every release records, whatever its classes.

They are made here, and the server's description names the answers, so no picture of the model's classes is needed to
see that a server decodes, computes and answers as its release does.
"""

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import httpx
from PIL import Image

from handler.release import GOLDEN_TOLERANCE, golden_pixels
from serving.client.protocols import Prediction, Wrong, document

# In the description of the API, below `info`.
KEY = "x-golden-answers"


@dataclass(frozen=True, slots=True)
class Golden:
    """The patterns as PNG files, and the label and probability that each must get.

    Attributes:
        sha256: of the weights that the answers are of.
        answers: by precision.
    """

    pictures: list[bytes]
    sha256: str
    answers: Mapping[str, list[tuple[str, float]]]


def read_golden(client: httpx.Client) -> Golden | None:
    """Ask a server for its golden answers; None where it names none."""
    try:
        facts = document(client.get("/openapi.json"))["info"][KEY]
        answers = {
            str(precision): [(str(row["label"]), float(row["probability"])) for row in rows]
            for precision, rows in facts["answers"].items()
        }
        return Golden(golden_pictures(int(facts["size"])), str(facts["sha256"]), answers)
    except (httpx.HTTPError, Wrong, ValueError, LookupError, TypeError, AttributeError):
        return None


def golden_pictures(size: int) -> list[bytes]:
    """Return the patterns as PNG files of the size that the network takes, so that none is scaled."""
    files = []
    for pixels in golden_pixels(size):
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "PNG")
        files.append(file.getvalue())
    return files


def compare(golden: Golden, ask: Callable[[bytes], Prediction]) -> None:
    """Ask about each pattern, and compare the answer with those that were recorded.

    An answer of other weights, as in a rollout or by a canary, is not compared.

    Raises:
        Wrong: an answer is of none of the precisions.
    """
    for number, picture in enumerate(golden.pictures):
        answer = ask(picture)
        if answer.sha256 not in (None, golden.sha256):
            continue
        if not any(agrees(answer, *rows[number], precision) for precision, rows in golden.answers.items()):
            label, probability = next(iter(golden.answers.values()))[number]
            raise Wrong(
                f"pattern {number + 1} of {len(golden.pictures)} is {answer.label} by "
                f"{answer.probabilities[answer.label]:.4f}, and the release recorded {label} by {probability:.4f}"
            )


def agrees(answer: Prediction, label: str, probability: float, precision: str) -> bool:
    return abs(answer.probabilities.get(label, 0) - probability) <= GOLDEN_TOLERANCE.get(precision, 0)
