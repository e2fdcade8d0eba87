"""Do two computations of one network answer alike? What a release must pass before it exists."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from handler.files import UserError
from handler.predictor import softmax
from handler.preprocess import Pixels
from handler.runtimes.runtime import Logits

# Largest difference of a probability that storing kernels as fp16 may make. Those of the runtimes are stated by them.
ROUNDING = 5e-3


def answers(logits: Callable[[Pixels], Logits], pixels: Pixels, batch: int = 32) -> Logits:
    """Probabilities of shape (n, classes) for uint8 (n, size, size, 3)."""
    rows = [softmax(logits(pixels[start : start + batch])) for start in range(0, len(pixels), batch)]
    return np.concatenate(rows)


def margins(probabilities: Logits) -> npt.NDArray[np.float64]:
    """Return how far the highest probability of each row lies above the second, shape (n,)."""
    highest = np.sort(probabilities.astype(np.float64), axis=1)
    return np.asarray(highest[:, -1] - highest[:, -2])


def difference(found: Logits, wanted: Logits) -> float | None:
    """Return the largest difference of probabilities, to two digits; None where some are no numbers."""
    moved = float(np.abs(found.astype(np.float64) - wanted).max())
    return float(f"{moved:.2g}") if math.isfinite(moved) else None


def compare(found: Logits, wanted: Logits, allowed: float, what: str, whom: str) -> dict[str, Any]:
    """Holds probabilities of shape (n, classes) against those of a reference.

    A label may differ only on a picture that the reference itself cannot tell: where its two highest probabilities
    are nearer to each other than `allowed`.

    Returns:
        `max_difference` and `allowed` of a probability, `near_ties`: labels that differ so, for release.json.

    Raises:
        UserError: they differ by more, or in a label.
    """
    moved = float(np.abs(found.astype(np.float64) - wanted).max())
    # `not <=` also refuses NaN.
    if not moved <= allowed:
        raise UserError(f"{what} differs from {whom} by {moved:.2g} in a probability; allowed is {allowed}.")
    relabelled = found.argmax(axis=1) != wanted.argmax(axis=1)
    wrong = int((relabelled & (margins(wanted) >= allowed)).sum())
    if wrong:
        raise UserError(f"{what} gives {wrong} of {len(wanted)} pictures another label than {whom}.")
    return {"max_difference": float(f"{moved:.2g}"), "allowed": allowed, "near_ties": int(relabelled.sum())}
