import numpy as np
import pytest

from training import metrics


def accuracy_of(right: int, count: int) -> metrics.Accuracy:
    labels = np.zeros(count, dtype=np.int64)
    predicted = np.where(np.arange(count) < right, 0, 1)
    return metrics.accuracy(labels, predicted)


@pytest.mark.parametrize(
    ("right", "count", "low", "high"),
    # (p + z²/2n ± z √(p(1-p)/n + z²/4n²)) / (1 + z²/n) with z = 1.959964, by hand.
    [
        (34, 35, 0.8547, 0.9949),
        (20, 20, 0.8389, 1.0),
        (0, 10, 0.0, 0.2775),
        (5, 10, 0.2366, 0.7634),
        (1, 1, 0.2065, 1.0),
    ],
)
def test_the_interval_is_wilsons(right: int, count: int, low: float, high: float) -> None:
    found = accuracy_of(right, count)
    assert (found.right, found.count, found.accuracy) == (right, count, right / count)
    assert found.low == pytest.approx(low, abs=5e-5)
    assert found.high == pytest.approx(high, abs=5e-5)


def test_an_accuracy_reads_with_its_interval() -> None:
    assert str(accuracy_of(34, 35)) == "97.14 % (85.47 to 99.49, n = 35)"


def test_a_confusions_rows_are_truths_and_its_columns_verdicts() -> None:
    labels = np.array([0, 0, 0, 1, 1, 2], dtype=np.int64)
    predicted = np.array([0, 1, 1, 1, 0, 0], dtype=np.int64)
    assert metrics.confusion(labels, predicted, 3).tolist() == [[1, 2, 0], [1, 1, 0], [1, 0, 0]]


def test_a_class_that_does_not_occur_has_its_row_and_column() -> None:
    none = np.array([0], dtype=np.int64)
    assert metrics.confusion(none, none, 2).tolist() == [[1, 0], [0, 0]]


def test_a_summary_has_accuracy_interval_log_loss_and_confusion() -> None:
    labels = np.array([0, 1, 1], dtype=np.int64)
    probabilities = np.array([[0.5, 0.5], [0.25, 0.75], [0.9, 0.1]])
    found = metrics.summary(labels, probabilities)
    # Of equal probabilities the first class is the verdict.
    assert (found["right"], found["count"]) == (2, 3)
    assert found["confusion"] == [[1, 0], [1, 1]]
    # -(ln 0.5 + ln 0.75 + ln 0.1) / 3
    assert found["log_loss"] == pytest.approx(1.094471, abs=1e-6)
    assert found["low"] < found["accuracy"] < found["high"]


def test_a_certain_mistake_has_a_finite_log_loss() -> None:
    found = metrics.summary(np.array([1], dtype=np.int64), np.array([[1.0, 0.0]]))
    assert found["log_loss"] == pytest.approx(27.631, abs=1e-3)
