"""The estimate of the accuracy without labels (CBPE), beside the accuracy that labelled pictures show.

CBPE is the mean probability of the predicted class. It is right only where the model is calibrated: of the answers with
a probability of 0.9, nine in ten must be right.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from monitoring.validation.labelled import Reply

SIGNIFICANT = 0.01
"""One-sided p-value below which the model is not calibrated on these pictures."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """The accuracy as the probabilities estimate it, and as the labels show it."""

    estimated: float
    measured: float
    p_low: float
    """Probability that a calibrated model gets so few pictures right, or fewer."""
    p_high: float
    """Probability that a calibrated model gets so many pictures right, or more."""

    @property
    def holds(self) -> bool:
        return min(self.p_low, self.p_high) >= SIGNIFICANT

    @property
    def sentence(self) -> str:
        compared = f"Estimated without labels (CBPE): {self.estimated:.3f}; measured with them: {self.measured:.3f}."
        if self.holds:
            return f"{compared} These pictures do not show that the calibration fails."
        kind = "too sure" if self.p_low < SIGNIFICANT else "less sure than it could be"
        p = min(self.p_low, self.p_high)
        return (
            f"{compared} The calibration does not hold (p = {p:.2g}): the model is {kind}. Do not go by the board's "
            "estimate."
        )


def estimate(replies: Sequence[Reply]) -> Estimate | None:
    """Return both accuracies of the pictures that were answered, or None where none was."""
    pairs = [(reply.prediction.probability, reply.right) for reply in replies if reply.prediction]
    if not pairs:
        return None
    shares = [min(max(probability, 0.0), 1.0) for probability, _ in pairs]
    right = sum(is_right for _, is_right in pairs)
    chances = distribution(shares)
    return Estimate(sum(shares) / len(shares), right / len(pairs), sum(chances[: right + 1]), sum(chances[right:]))


def distribution(shares: Sequence[float]) -> list[float]:
    """Return the probabilities of 0, 1, 2, ... successes in trials that succeed with these probabilities."""
    chances = np.ones(1)
    for share in shares:
        chances = np.convolve(chances, (1 - share, share))
    return [float(chance) for chance in chances]
