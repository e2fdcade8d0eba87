"""A record of feedback: the label that a user gave to a prediction. Whatever is in its file may be hostile."""

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from common.review_csv import SHA256, is_label

MAX_BYTES = 1 << 16
# Characters of a model's name, version and precision: they stand in tables and file names.
WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,63}")
SUFFIX = re.compile(r"[a-z0-9]{1,5}")


@dataclass(frozen=True, slots=True)
class Model:
    """The model that made a prediction."""

    name: str
    version: str
    sha256: str
    precision: str


@dataclass(frozen=True, slots=True)
class Record:
    """One label that a user gave.

    Attributes:
        day: name of the folder that the record lies in.
        sha256: of the picture as the user sent it.
        label: given by the user.
        predicted: label that the model predicted, with this probability.
        picture: name of the picture's file beside the record; None where it was not kept.
    """

    id: str
    day: str
    predicted_at: datetime
    sha256: str
    label: str
    predicted: str
    probability: float
    model: Model
    picture: str | None

    @property
    def doubt(self) -> float:
        """The probability that the label is wrong, if the model is to be believed."""
        return self.probability if self.predicted != self.label else 1 - self.probability


def parse(raw: bytes, id: str, day: str) -> Record:
    """Parse a record.

    Args:
        id: as the name of its file says.
        day: the folder that it lies in.

    Raises:
        ValueError: a member is missing or not of the kind that it must be. The message is about the member alone.
    """
    try:
        values = json.loads(raw)
    except (ValueError, RecursionError):
        raise ValueError("it is not JSON") from None
    if not isinstance(values, dict):
        raise ValueError("it is not a JSON object")
    if values.get("id") != id:
        raise ValueError("its id differs from its file name")
    probability = values.get("probability")
    if isinstance(probability, bool) or not isinstance(probability, int | float) or not 0 <= probability <= 1:
        raise ValueError("its probability is not between 0 and 1")
    return Record(
        id,
        day,
        _time(values.get("predicted_at")),
        _matching(values, "sha256", SHA256),
        _label(values, "label"),
        _label(values, "predicted"),
        float(probability),
        _model(values.get("model")),
        _picture(values.get("picture"), id),
    )


def _time(text: object) -> datetime:
    try:
        time = datetime.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        time = None
    if time is None or time.tzinfo is None:
        raise ValueError("its predicted_at is not a time such as 2026-11-29T08:00:00Z")
    try:
        return time.astimezone(UTC)
    except OverflowError:
        raise ValueError("its predicted_at is out of range") from None


def _matching(values: dict[str, Any], member: str, pattern: re.Pattern[str]) -> str:
    text = values.get(member)
    if not isinstance(text, str) or not pattern.fullmatch(text):
        raise ValueError(f"its {member} is missing or has characters that are not allowed")
    return text


def _label(values: dict[str, Any], member: str) -> str:
    text = values.get(member)
    if not isinstance(text, str) or not is_label(text):
        raise ValueError(f"its {member} is not a label")
    return text


def _model(values: object) -> Model:
    if not isinstance(values, dict):
        raise ValueError("it does not name the model")
    return Model(
        _matching(values, "name", WORD),
        _matching(values, "version", WORD),
        _matching(values, "sha256", SHA256),
        _matching(values, "precision", WORD),
    )


def _picture(name: object, id: str) -> str | None:
    if name is None:
        return None
    prefix, dot, suffix = name.rpartition(".") if isinstance(name, str) else ("", "", "")
    if prefix != id or not dot or not SUFFIX.fullmatch(suffix) or suffix == "json":
        raise ValueError("its picture is not named after its id")
    return f"{id}.{suffix}"
