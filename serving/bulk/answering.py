"""Answers to pictures by the handler's own code, within the bounds that a worker of the server has."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from handler import memory
from handler.budget import Exhausted, within
from handler.catsdogs_handler import ROW_S
from handler.predictor import Predictor
from handler.preprocess import Pixels
from handler.problem import Problem

logger = logging.getLogger(__name__)

TOO_COSTLY = Problem(
    413, "too_many_pixels", f"The picture takes more than {ROW_S:.0f} s to decode: a smaller one is needed."
)
TOO_MUCH_MEMORY = Problem(413, "too_many_pixels", "The picture takes too much memory: a smaller one is needed.")
OUR_FAULT = Problem(500, "internal", "The model failed on this picture.")


@dataclass(slots=True)
class Picture:
    """A picture that was read, or the problem that it has none to read."""

    path: str
    data: bytes = b""
    problem: Problem | None = None


def answer(predictor: Predictor, ceiling: memory.Ceiling, pictures: Sequence[Picture]) -> list[dict[str, Any]]:
    """Return the rows of pictures, and let go of their bytes.

    Only in a process's main thread the time to decode is limited.
    """
    pixels: dict[int, Pixels] = {}
    for number, picture in enumerate(pictures):
        if picture.problem is None:
            try:
                with ceiling:
                    pixels[number] = within(ROW_S, partial(predictor.decode, picture.data))
            except Problem as problem:
                # Anew: the traceback of the other holds the bytes.
                picture.problem = Problem(problem.status, problem.code, problem.detail)
            except Exhausted:
                picture.problem = TOO_COSTLY
            except MemoryError:
                picture.problem = TOO_MUCH_MEMORY
                memory.trim()
            except Exception:
                logger.exception("%r could not be decoded", picture.path)
                picture.problem = OUR_FAULT
            picture.data = b""
    answers = dict(zip(pixels, predictor.answers(np.stack(list(pixels.values()))), strict=True)) if pixels else {}
    return [row(picture, answers.get(number)) for number, picture in enumerate(pictures)]


def row(picture: Picture, found: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return the row of a picture: its answer, or its problem."""
    if found is not None:
        return {"path": picture.path, **found}
    problem = picture.problem or OUR_FAULT
    return {"path": picture.path, "error": problem.detail, "code": problem.code}
