"""Numbers with their uncertainty."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import binomtest


@dataclass(frozen=True, slots=True)
class Accuracy:
    """A share of right answers with its 95 % Wilson interval (E. B. Wilson, JASA 22, 1927)."""

    right: int
    count: int
    accuracy: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{100 * self.accuracy:.2f} % ({100 * self.low:.2f} to {100 * self.high:.2f}, n = {self.count})"


def accuracy(labels: npt.NDArray[np.int64], predicted: npt.NDArray[np.int64]) -> Accuracy:
    """Of int64 arrays of shape (n,), n >= 1."""
    right, count = int((labels == predicted).sum()), len(labels)
    interval = binomtest(right, count).proportion_ci(0.95, method="wilson")
    return Accuracy(right, count, right / count, float(interval.low), float(interval.high))


def confusion(labels: npt.NDArray[np.int64], predicted: npt.NDArray[np.int64], classes: int) -> npt.NDArray[np.int64]:
    """Counts of shape (classes, classes): row is the truth, column the verdict."""
    return np.bincount(labels * classes + predicted, minlength=classes * classes).reshape(classes, classes)


def summary(labels: npt.NDArray[np.int64], probabilities: npt.NDArray[np.float64]) -> dict[str, Any]:
    """Accuracy, log loss and confusion of one slice.

    Args:
        labels: int64 (n,).
        probabilities: float64 (n, classes).
    """
    predicted = probabilities.argmax(axis=1)
    true = probabilities[np.arange(len(labels)), labels]
    return {
        **asdict(accuracy(labels, predicted)),
        "log_loss": float(-np.log(np.clip(true, 1e-12, 1)).mean()),
        "confusion": confusion(labels, predicted, probabilities.shape[1]).tolist(),
    }
