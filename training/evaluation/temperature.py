"""One temperature that makes probabilities mean what they say, shrunk towards 1 where few pictures were seen."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

from training.evaluation.metrics import Floats, Ints

# Standard deviation of log T before any picture was seen: two of three networks are within a factor of two of T = 1.
PRIOR = np.log(2)
# Pictures of no known class that are added to those of the split: where all of n are right, the probability of being
# right is then about (n + 1/classes) / (n + 1) and not 1 (the rule of succession; Platt 1999 for a classifier).
UNKNOWN = 1.0
# The search's bounds for log T, which the prior keeps it far from.
SEARCH = float(np.log(1000))
# Without the prior there is no best T where all pictures are right, or all wrong: it then lies beyond these.
UNBOUNDED = (0.05, 20.0)


@dataclass(frozen=True, slots=True)
class Temperature:
    """A fitted temperature, and the one that the pictures alone would give; None where they set no bound to it."""

    value: float
    count: int
    unshrunk: float | None


def fit_temperature(logits: Floats, labels: Ints) -> Temperature:
    """Fit the T for which softmax(logits / T) has the least log loss (Guo et al. 2017) under a prior.

    The log loss of all pictures gets two more terms, neither of which grows with their number: UNKNOWN pictures like
    them of no known class, and a normal prior of log T. So much data is fitted as it is, and from few pictures no T can
    follow that makes a network surer than so many pictures can show.

    Args:
        logits: float64 (n, classes), n >= 1.
        labels: int64 (n,).
    """
    rows = np.arange(len(labels))

    def data(log_t: float) -> float:
        return float(-log_softmax(logits / np.exp(log_t), axis=1)[rows, labels].sum())

    def penalised(log_t: float) -> float:
        scaled = log_softmax(logits / np.exp(log_t), axis=1)
        unknown = UNKNOWN * -scaled.mean()
        return float(-scaled[rows, labels].sum() + unknown + (log_t / PRIOR) ** 2 / 2)

    alone, (low, high) = _least(data), UNBOUNDED
    bounded = low < alone < high and not bool((logits.argmax(axis=1) == labels).all())
    return Temperature(_least(penalised), len(labels), alone if bounded else None)


def _least(loss: Callable[[float], float]) -> float:
    return float(np.exp(minimize_scalar(loss, bounds=(-SEARCH, SEARCH), method="bounded").x))
