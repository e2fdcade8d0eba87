"""Explanations of a batch, after its predictions. A row without one harms no other."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from handler import memory
from handler.class_maps import NoMaps
from handler.explanation import Explanation
from handler.payload import Request
from handler.predictor import Predictor
from handler.preprocess import Pixels
from handler.problem import Problem

logger = logging.getLogger(__name__)


def explain_rows(
    predictor: Predictor,
    requests: Mapping[int, Request],
    pixels: Sequence[Pixels],
    answers: dict[int, Any],
) -> dict[int, Problem]:
    """Put explanations in the place of the predictions of the rows that ask for one.

    Args:
        requests: by row, those that are answered.
        pixels: of all their pictures, in order.
        answers: the predictions by row, which are changed.

    Returns:
        The problems of rows that got no explanation.
    """
    wanted: dict[int, tuple[Explanation, Pixels]] = {}
    place = 0
    for row, request in requests.items():
        if request.explanation is not None:
            wanted[row] = request.explanation, pixels[place]
        place += request.count
    if not wanted:
        return {}
    try:
        _explain(predictor, wanted, answers)
        return {}
    except NoMaps as reason:
        detail = f"This model has no explanations: {reason}."
        return {row: Problem(404, "no_explanation", detail) for row in wanted}
    except Exception:
        logger.exception("explanations of %d pictures failed", len(wanted))
        return {
            row: Problem(500, "internal", "The server failed on this explanation; its log has the reason.")
            for row in wanted
        }
    finally:
        memory.trim()


def _explain(predictor: Predictor, wanted: Mapping[int, tuple[Explanation, Pixels]], answers: dict[int, Any]) -> None:
    release = predictor.release
    classes = [
        release.classes.index(answers[row]["label"]) if explanation.index is None else explanation.index
        for row, (explanation, _) in wanted.items()
    ]
    # Loaded for this batch alone, so that nothing of it stays in memory.
    maps = predictor.load_class_maps().of(np.stack([pixels for _, pixels in wanted.values()]), classes)
    for (row, (explanation, _)), index, made in zip(wanted.items(), classes, maps, strict=True):
        answers[row] = explanation.answer(answers[row], release.classes[index], made, release.input)
