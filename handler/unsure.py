"""Answers that are unsure: those whose probability is below the release's threshold for the precision that computes it.

A release may hold the thresholds under the key `unsure` of its release.json (training/release/unsure.py chooses them):

    {"precisions": {"fp32": {"threshold": 0.8}, "int8": {"threshold": 0.8}}}

The member `unsure` is in an answer if the request asks for it, or the server was started so.
"""

import os
from collections.abc import Mapping
from typing import Any

from handler.problem import Problem
from handler.runtimes.runtime import FP32, PRECISIONS

HEADER = "x-catsdogs-unsure"
# `1` has every answer say whether it is unsure.
VARIABLE = "CATSDOGS_UNSURE"
NO_THRESHOLD = (
    "The release has no threshold for unsure answers: make it by catsdogs unsure and catsdogs package, or leave out "
    "--unsure."
)


def parse_thresholds(value: Any) -> dict[str, float]:
    """Return the thresholds by precision, from `unsure` of a release.json, which may be missing.

    There are none without one for fp32, the reference: a worker computes it wherever it does not compute int8.

    Raises:
        ValueError: one sentence says what is wrong.
    """
    if value is None:
        return {}
    by_precision = value.get("precisions") if isinstance(value, dict) else None
    if not isinstance(by_precision, dict) or not by_precision.keys() <= set(PRECISIONS):
        raise ValueError("unsure.precisions must give an object for each precision.")
    thresholds = {}
    for precision, facts in by_precision.items():
        threshold = facts.get("threshold") if isinstance(facts, dict) else None
        if threshold is None:
            continue
        if type(threshold) not in (int, float) or not 0 < threshold <= 1:
            raise ValueError(f"unsure.precisions.{precision}.threshold must be a number above 0 and up to 1.")
        thresholds[precision] = float(threshold)
    return thresholds if FP32 in thresholds else {}


def threshold_of(thresholds: Mapping[str, float], precision: str) -> float | None:
    """Return the threshold for a precision: its own, else that of fp32, the reference."""
    return thresholds.get(precision, thresholds.get(FP32))


def is_usual() -> bool:
    """Return whether the environment has every answer say whether it is unsure."""
    return os.environ.get(VARIABLE) == "1"


def read_unsure(text: str, usual: bool, threshold: float | None) -> bool:
    """Return whether the answer to a request shall say whether it is unsure.

    Args:
        text: of the request's header, empty if it has none.
        usual: whether answers do without being asked.

    Raises:
        Problem: 400.
    """
    if text not in ("", "true", "false"):
        raise Problem(400, "bad_request", "unsure must be true or false.")
    wanted = usual if text == "" else text == "true"
    if wanted and threshold is None:
        raise Problem(400, "bad_request", "This model has no threshold for unsure answers: leave out unsure.")
    return wanted
