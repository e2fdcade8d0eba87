"""Explanations of pictures, by the packed model in this process."""

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.text import printable
from handler.class_maps import ClassMaps, NoMaps
from handler.explanation import JSON, PNG, Explanation, named_few
from handler.files import UserError
from handler.predictor import Predictor
from handler.problem import Problem
from handler.runtimes.choice import from_environment
from serving.client.pictures import EMPTY, read_picture
from serving.images.bounds import Bounds
from serving.server.archive import unpack

# From little to much, for parts that speak for the class.
SHADES = " .:=+*#%@"


@dataclass(frozen=True, slots=True)
class Explained:
    """The explanation of one picture, or what was wrong with it."""

    path: Path
    answer: dict[str, Any] | bytes | None
    problem: str | None = None
    code: str | None = None
    """Stable name of the problem, where it has one."""

    def as_json(self) -> dict[str, Any]:
        if isinstance(self.answer, dict):
            return {"path": str(self.path), **self.answer}
        code = {} if self.code is None else {"code": self.code}
        return {"path": str(self.path), "error": self.problem, **code}

    def png(self) -> bytes:
        assert isinstance(self.answer, bytes)
        return self.answer


def explain_offline(paths: Sequence[Path], archive: Path, label: str | None, png: bool) -> Iterator[Explained]:
    """Explain with the model inside a .mar.

    Args:
        label: the class that is explained; by default the predicted one.
        png: whether each answer is a PNG, else a document.

    Raises:
        UserError: there is no such class, or the model has no explanations.
    """
    with tempfile.TemporaryDirectory(prefix="catsdogs-explain-") as folder:
        unpack(archive, Path(folder))
        predictor = Predictor(Path(folder), *from_environment())
        classes = predictor.release.classes
        if label is not None and label not in classes:
            raise UserError(f"The model has no class {label!r}: name one of {named_few(classes)} by --class.")
        index = None if label is None else classes.index(label)
        try:
            maps = predictor.load_class_maps()
            bounds = Bounds()  # on what comes on top of the networks
            for path in paths:
                yield _explain(path, predictor, maps, Explanation(index, PNG if png else JSON), bounds)
        except NoMaps as reason:
            raise UserError(f"{archive} has no explanations: {reason}.") from reason


def _explain(path: Path, predictor: Predictor, maps: ClassMaps, explanation: Explanation, bounds: Bounds) -> Explained:
    try:
        data = read_picture(path)
        if not data:
            return Explained(path, None, EMPTY, "no_image")
        pixels = bounds.run(lambda: predictor.decode(data))[None]
        bounds.run(lambda: explanation.look(data))
    except Problem as problem:
        return Explained(path, None, problem.detail, problem.code)
    except OSError as error:
        return Explained(path, None, f"Cannot be read: {error.strerror}.")
    (answer,) = predictor.answers(pixels)
    classes = predictor.release.classes
    index = classes.index(answer["label"]) if explanation.index is None else explanation.index
    (made,) = maps.of(pixels, [index])
    return Explained(path, explanation.answer(answer, classes[index], made, predictor.release.input))


def in_words(explained: Explained) -> str:
    """Return an explanation as lines of text: the prediction, and the map in shades."""
    answer = explained.answer
    assert isinstance(answer, dict)
    prediction = answer["prediction"]
    most = max(max(map(abs, row)) for row in answer["map"]) or 1.0
    rows = ["".join(2 * _shade(value / most) for value in row) for row in answer["map"]]
    head = f"{printable(str(explained.path))}: {prediction['label']} ({100 * prediction['probability']:.1f} %)"
    told = f"What speaks for {answer['class']} (@ most, - what speaks against it):"
    return "\n".join([head, told, *(f"  |{row}|" for row in rows)])


def _shade(strength: float) -> str:
    """Return a character for a number from -1 to 1."""
    if strength < -0.05:
        return "-"
    return SHADES[min(len(SHADES) - 1, int(max(0.0, strength) * len(SHADES)))]
