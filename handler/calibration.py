"""The conditions of a picture, such as blur, in which the probability of an answer is not calibrated.

A release may hold what was measured under the key `robustness` of its release.json (training/evaluation/robustness.py
measures it): a limit of the expected calibration error (ECE), and the ECE by precision, source of pictures, and
condition:

    {"trusted_ece": 0.03, "precisions": {"fp32": {"photos": {"blurred": {"ece": 0.05}}}}}

An answer that says whether it is unsure also names the conditions whose ECE is above the limit in a source.
"""

import math
from collections.abc import Mapping
from typing import Any

from handler.runtimes.runtime import FP32, PRECISIONS

Conditions = Mapping[str, tuple[str, ...]]


def parse_uncalibrated(value: Any) -> dict[str, tuple[str, ...]]:
    """Return the conditions whose ECE is above the limit by precision, from `robustness`, which may be missing.

    Raises:
        ValueError: one sentence says what is wrong.
    """
    if value is None:
        return {}
    limit: Any = value.get("trusted_ece") if isinstance(value, dict) else None
    if not _is_share(limit):
        raise ValueError("robustness.trusted_ece must be a number from 0 to 1.")
    by_precision = value.get("precisions")
    if not isinstance(by_precision, dict) or not by_precision.keys() <= set(PRECISIONS):
        raise ValueError("robustness.precisions must give an object for each precision.")
    return {precision: _above(precision, sources, limit) for precision, sources in by_precision.items()}


def _above(precision: str, sources: Any, limit: float) -> tuple[str, ...]:
    above: dict[str, None] = {}
    for conditions in sources.values() if isinstance(sources, dict) else [None]:
        for condition, figures in conditions.items() if isinstance(conditions, dict) else [("", None)]:
            ece: Any = figures.get("ece") if isinstance(figures, dict) else None
            if not (condition.isprintable() and condition.strip() and _is_share(ece)):
                raise ValueError(f"robustness.precisions.{precision} must give the ece of each source and condition.")
            if ece > limit:
                above[condition] = None
    return tuple(above)


def _is_share(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value) and 0 <= value <= 1


def uncalibrated_in(conditions: Conditions, precision: str) -> tuple[str, ...]:
    """Return the conditions in which a precision is not calibrated: its own, else those of fp32, the reference."""
    return conditions.get(precision, conditions.get(FP32, ()))
