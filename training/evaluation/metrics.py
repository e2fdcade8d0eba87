"""Numbers with their uncertainty: proportions, scores by class, calibration, and the comparison of two classifiers."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import softmax
from scipy.stats import binomtest
from sklearn.metrics import average_precision_score, f1_score  # type: ignore[import-untyped]

from common.paired import mcnemar_p_value

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

# Guo et al., "On Calibration of Modern Neural Networks", ICML 2017.
BINS = 15
TOP = (3, 5)
# Pictures of a class that a verdict on it takes: the interval of 10 of 10 still reaches down to 72 %.
JUDGED = 10
PAIRS = 10
# Of a p value: above it, two classifiers are not shown to differ.
SIGNIFICANT = 0.05


@dataclass(frozen=True, slots=True)
class Proportion:
    """`right` of `count`, with its 95 % Wilson interval (E. B. Wilson, JASA 22, 1927)."""

    right: int
    count: int
    share: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{100 * self.share:.2f} % ({100 * self.low:.2f} to {100 * self.high:.2f}, n = {self.count})"


def proportion(right: int, count: int) -> Proportion:
    """Return Wilson's interval for a share of `count` >= 1 trials."""
    interval = binomtest(right, count).proportion_ci(0.95, method="wilson")
    return Proportion(right, count, right / count, float(interval.low), float(interval.high))


def accuracy(labels: Ints, predicted: Ints) -> Proportion:
    """Return the share of correct predictions, from int64 arrays of shape (n,), n >= 1."""
    return proportion(int((labels == predicted).sum()), len(labels))


def confusion(labels: Ints, predicted: Ints, classes: int) -> Ints:
    """Counts of shape (classes, classes): row is the truth, column the verdict."""
    return np.bincount(labels * classes + predicted, minlength=classes * classes).reshape(classes, classes)


def by_class(labels: Ints, probabilities: Floats, classes: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Recall, precision, F1 and average precision of each class against the others.

    Recall and precision are binomial proportions and have intervals. F1 and average precision are none, so they
    have no interval. What is not defined is None: the recall of a class without pictures, the precision of one
    that is never the verdict.

    Args:
        labels: int64 (n,).
        probabilities: float64 (n, classes).
    """
    predicted = probabilities.argmax(axis=1)
    counts = confusion(labels, predicted, len(classes))
    f1 = f1_score(labels, predicted, labels=range(len(classes)), average=None, zero_division=np.nan)
    scores = {}
    for index, name in enumerate(classes):
        right, true, claimed = int(counts[index, index]), int(counts[index].sum()), int(counts[:, index].sum())
        scores[name] = {
            "recall": asdict(proportion(right, true)) if true else None,
            "precision": asdict(proportion(right, claimed)) if claimed else None,
            "f1": None if np.isnan(f1[index]) else float(f1[index]),
            "average_precision": float(average_precision_score(labels == index, probabilities[:, index]))
            if true
            else None,
        }
    return scores


def too_few(labels: Ints, classes: Sequence[str]) -> dict[str, int]:
    """Classes that cannot be judged, with their pictures: fewer than JUDGED."""
    counts = np.bincount(labels, minlength=len(classes)).tolist()
    return {name: count for name, count in zip(classes, counts, strict=True) if count < JUDGED}


def top_k(labels: Ints, probabilities: Floats, k: int) -> Proportion:
    """Return the share of truths among the `k` most probable classes; of equal ones the first is more probable."""
    best = np.argsort(-probabilities, axis=1, kind="stable")[:, :k]
    return proportion(int((best == labels[:, None]).any(axis=1).sum()), len(labels))


def worst_pairs(counts: Ints, classes: Sequence[str], limit: int = PAIRS) -> list[dict[str, Any]]:
    """Truths taken for another class, the most frequent first; `share` is of the pictures of that truth."""
    pairs = []
    for i, j in np.argwhere(counts > 0):
        if i != j:
            taken = proportion(int(counts[i, j]), int(counts[i].sum()))
            pairs.append(
                {
                    "truth": classes[i],
                    "verdict": classes[j],
                    "count": taken.right,
                    "of": taken.count,
                    "share": taken.share,
                    "low": taken.low,
                    "high": taken.high,
                }
            )
    return sorted(pairs, key=lambda pair: (-pair["count"], -pair["share"]))[:limit]


def log_loss(labels: Ints, probabilities: Floats) -> float:
    """Mean cross-entropy in nats; a probability below 1e-12 counts as that."""
    true = probabilities[np.arange(len(labels)), labels]
    return float(-np.log(np.clip(true, 1e-12, 1)).mean())


def reliability(labels: Ints, probabilities: Floats, bins: int = BINS) -> list[dict[str, Any]]:
    """Pictures in bins of equal width by the verdict's probability; empty bins are left out.

    Returns:
        For each bin its bounds `above` and `up_to`, the mean probability `confidence`, and the share of right
        verdicts as a proportion.
    """
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == labels
    edges = np.linspace(0, 1, bins + 1)
    index = np.searchsorted(edges[1:-1], confidence, side="left")
    return [
        {
            "above": float(edges[number]),
            "up_to": float(edges[number + 1]),
            "confidence": float(confidence[index == number].mean()),
            **asdict(proportion(int(right[index == number].sum()), int((index == number).sum()))),
        }
        for number in np.unique(index)
    ]


def calibration_error(labels: Ints, probabilities: Floats, bins: int = BINS) -> float:
    """Expected calibration error: mean distance of confidence and share right over the bins, weighted by count.

    Its expectation is above zero for a calibrated classifier too, the more so the fewer pictures there are.
    """
    rows = reliability(labels, probabilities, bins)
    return float(sum(row["count"] * abs(row["share"] - row["confidence"]) for row in rows) / len(labels))


def mcnemar(first_right: Bools, second_right: Bools) -> dict[str, Any]:
    """The exact test of two classifiers on the same pictures (Q. McNemar, Psychometrika 12, 1947).

    Returns:
        `only_first` and `only_second`, the pictures that one alone gets right, and the two-sided `p`.
    """
    first, second = int((first_right & ~second_right).sum()), int((second_right & ~first_right).sum())
    return {"only_first": first, "only_second": second, "p": mcnemar_p_value(first, second)}


def summary(labels: Ints, logits: Floats, classes: Sequence[str], temperature: float) -> dict[str, Any]:
    """Every figure of one domain.

    Balanced accuracy is the mean recall of the classes that occur: no binomial proportion, so without an interval.

    Args:
        labels: int64 (n,), n >= 1.
        logits: float64 (n, classes).
        temperature: fitted elsewhere; `ece_scaled` and `log_loss_scaled` are with it.
    """
    probabilities, scaled = softmax(logits, axis=1), softmax(logits / temperature, axis=1)
    predicted = probabilities.argmax(axis=1)
    whole = accuracy(labels, predicted)
    counts = confusion(labels, predicted, len(classes))
    scores = by_class(labels, probabilities, classes)
    figures: dict[str, Any] = {
        "right": whole.right,
        "count": whole.count,
        "accuracy": whole.share,
        "low": whole.low,
        "high": whole.high,
        "balanced_accuracy": float(np.mean([row["recall"]["share"] for row in scores.values() if row["recall"]])),
        "log_loss": log_loss(labels, probabilities),
        "log_loss_scaled": log_loss(labels, scaled),
        "ece": calibration_error(labels, probabilities),
        "ece_scaled": calibration_error(labels, scaled),
        "temperature": temperature,
        "confusion": counts.tolist(),
        "per_class": scores,
    }
    if len(classes) > 2:
        figures["top_k"] = {str(k): asdict(top_k(labels, probabilities, k)) for k in TOP if k < len(classes)}
        figures["worst_pairs"] = worst_pairs(counts, classes)
    return figures
