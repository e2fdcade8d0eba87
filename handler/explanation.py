"""Explanations: the class activation map that answers one row of a batch, as JSON or as PNG.

TorchServe marks requests to /explanations by the header `explain`. Which class is explained and in which form, the
gateway says in headers of its own.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from PIL import Image

from handler.class_maps import ClassMap
from handler.features import upright_size
from handler.overlay import overlay, shown
from handler.preprocess import InputSpec, box_of
from handler.problem import Problem

EXPLAIN = "explain"
CLASS, FORM = "x-catsdogs-class", "x-catsdogs-form"
JSON, PNG = "json", "png"
DIGITS = 6


@dataclass(slots=True)
class Explanation:
    """An explanation that is asked for."""

    index: int | None
    """Index of the class; None stands for the predicted one."""
    form: str
    width: int = field(init=False)
    """Width of the picture, upright, in pixels."""
    height: int = field(init=False)
    """Height of the picture, upright, in pixels."""
    picture: Image.Image | None = field(init=False, default=None)
    """Picture that a map is laid over, where a PNG is asked for."""

    def look(self, data: bytes) -> None:
        """Note what the answer must say of the picture, before it is let go.

        Raises:
            Problem: as `decode`.
        """
        self.width, self.height = upright_size(data)
        if self.form == PNG:
            self.picture = shown(data, self.width, self.height)

    def answer(self, answer: dict[str, Any], label: str, made: ClassMap, spec: InputSpec) -> dict[str, Any] | bytes:
        """Return the document that answers, or the bytes of a PNG.

        Args:
            answer: the prediction.
            label: the class that is explained.
        """
        if self.picture is not None:
            return overlay(self.picture, made.values, spec)
        return {
            "class": label,
            "map": [[round(float(value), DIGITS) for value in row] for row in made.values],
            "logit": round(made.logit, DIGITS),
            "bias": round(made.bias, DIGITS),
            "picture": {"width": self.width, "height": self.height},
            "area": area_of(self.width, self.height, spec),
            "prediction": answer,
        }


def is_asked_for(headers: Mapping[str, str]) -> bool:
    """Return whether a row asks for an explanation, from its headers by lower-cased name."""
    return headers.get(EXPLAIN, "").lower() == "true"


def read_explanation(headers: Mapping[str, str], classes: list[str]) -> Explanation:
    """Return the explanation that a row asks for.

    Raises:
        Problem: 400, there is no such class or form.
    """
    form, named = headers.get(FORM) or JSON, unquote(headers.get(CLASS, ""))
    if form not in (JSON, PNG):
        raise Problem(400, "bad_request", f"format must be {JSON} or {PNG}.")
    if named and named not in classes:
        raise Problem(400, "bad_request", f"class must be one of the model's: {named_few(classes)}.")
    return Explanation(classes.index(named) if named else None, form)


def named_few(classes: list[str], few: int = 10) -> str:
    """Return the names of classes, with commas; of many, the first ones."""
    return ", ".join(classes[:few]) + (f" and {len(classes) - few} more" if len(classes) > few else "")


def area_of(width: int, height: int, spec: InputSpec) -> dict[str, int]:
    """Return the part of an upright picture that a map covers, in whole pixels."""
    left, top, right, bottom = (round(edge) for edge in box_of(width, height, spec.resize))
    return {"left": left, "top": top, "width": right - left, "height": bottom - top}
