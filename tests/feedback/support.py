"""Records of feedback as a server writes them, on the sample photographs of this repository."""

import hashlib
import json
from pathlib import Path
from typing import Any

from tests.zoo import CAT, DOG

DAY = "2026-11-28"
MODEL = {"name": "catsdogs", "version": "1.0.0", "sha256": "ab" * 32, "precision": "fp32"}


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def id_of(number: int) -> str:
    return f"{number:032x}"


def record(number: int, data: bytes, **members: Any) -> dict[str, Any]:
    """Return a record: a cat, which the model took for a dog, and whose user says so."""
    day = members.pop("day", DAY)
    return {
        "id": id_of(number),
        "predicted_at": f"{day}T10:00:00Z",
        "given_at": f"{day}T10:00:07Z",
        "sha256": sha256(data),
        "label": "cat",
        "predicted": "dog",
        "probability": 0.9,
        "model": MODEL,
        "picture": f"{id_of(number)}.jpg",
        **members,
    }


def give(place: Path, number: int, data: bytes = CAT.read_bytes(), *, day: str = DAY, **members: Any) -> Path:
    """Write a record, and the picture beside it, and return the record's path."""
    values = record(number, data, day=day, **members)
    folder = place / day
    folder.mkdir(parents=True, exist_ok=True)
    if values["picture"] == f"{id_of(number)}.jpg":
        (folder / values["picture"]).write_bytes(data)
    path = folder / f"{id_of(number)}.json"
    path.write_text(json.dumps(values))
    return path


def cat_and_dog(place: Path) -> Path:
    """Write a cat that the model took for a dog, and a dog that it recognised."""
    give(place, 1)
    give(place, 2, DOG.read_bytes(), label="dog", predicted="dog", probability=0.8)
    return place
