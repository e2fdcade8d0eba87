import json

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.calibration import calibration_curve  # type: ignore[import-untyped]

from training.evaluation import metrics
from training.evaluation.metrics import Bools, Floats, Ints


def accuracy_of(right: int, count: int) -> metrics.Proportion:
    labels = np.zeros(count, dtype=np.int64)
    predicted = np.where(np.arange(count) < right, 0, 1)
    return metrics.accuracy(labels, predicted)


def verdicts(*pairs: tuple[int, int], classes: int = 3) -> tuple[Ints, Floats]:
    """Labels, and logits that choose the second of each pair (truth, verdict) with a probability near 1."""
    labels = np.array([truth for truth, _ in pairs], dtype=np.int64)
    return labels, 10 * np.eye(classes)[[verdict for _, verdict in pairs]]


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
    proportion = accuracy_of(right, count)
    assert (proportion.right, proportion.count, proportion.share) == (right, count, right / count)
    assert proportion.low == pytest.approx(low, abs=5e-5)
    assert proportion.high == pytest.approx(high, abs=5e-5)


def test_a_proportion_reads_with_its_interval() -> None:
    assert str(accuracy_of(34, 35)) == "97.14 % (85.47 to 99.49, n = 35)"


def test_a_confusions_rows_are_truths_and_its_columns_verdicts() -> None:
    labels = np.array([0, 0, 0, 1, 1, 2], dtype=np.int64)
    predicted = np.array([0, 1, 1, 1, 0, 0], dtype=np.int64)
    assert metrics.confusion(labels, predicted, 3).tolist() == [[1, 2, 0], [1, 1, 0], [1, 0, 0]]


def test_a_class_that_does_not_occur_has_its_row_and_column() -> None:
    none = np.array([0], dtype=np.int64)
    assert metrics.confusion(none, none, 2).tolist() == [[1, 0], [0, 0]]


def test_recall_is_of_the_truths_and_precision_of_the_verdicts() -> None:
    labels, logits = verdicts((0, 0), (0, 0), (0, 0), (0, 1), (1, 1), (1, 0))
    cat = metrics.by_class(labels, softmax(logits, axis=1), ["cat", "dog", "fox"])["cat"]
    assert (cat["recall"]["right"], cat["recall"]["count"]) == (3, 4)
    assert (cat["precision"]["right"], cat["precision"]["count"]) == (3, 4)
    assert cat["f1"] == pytest.approx(0.75)
    dog = metrics.by_class(labels, softmax(logits, axis=1), ["cat", "dog", "fox"])["dog"]
    assert (dog["recall"]["share"], dog["precision"]["share"], dog["f1"]) == (0.5, 0.5, 0.5)
    # Wilson of 1 of 2, by hand.
    assert dog["recall"]["low"] == pytest.approx(0.0945, abs=5e-5)


def test_average_precision_is_the_mean_precision_at_each_truth() -> None:
    labels = np.array([1, 0, 1, 0], dtype=np.int64)
    dog = np.array([0.9, 0.8, 0.7, 0.1])
    scores = metrics.by_class(labels, np.stack([1 - dog, dog], axis=1), ["cat", "dog"])
    # Dogs are the first and third: (1/1 + 2/3) / 2. Cats are first and third of the other order.
    assert scores["dog"]["average_precision"] == pytest.approx(5 / 6)
    assert scores["cat"]["average_precision"] == pytest.approx(5 / 6)


def test_what_is_not_defined_is_none() -> None:
    labels, logits = verdicts((0, 0), (1, 0))
    scores = metrics.by_class(labels, softmax(logits, axis=1), ["cat", "dog", "fox"])
    # A dog that is never the verdict has a recall, and no precision; of a fox that never occurs there is nothing.
    assert scores["dog"]["recall"]["share"] == 0
    assert scores["dog"]["precision"] is None
    assert scores["dog"]["f1"] == 0
    assert scores["fox"] == {"recall": None, "precision": None, "f1": None, "average_precision": None}


def test_a_class_that_does_not_occur_but_is_a_verdict_has_a_precision_of_0() -> None:
    labels, logits = verdicts((0, 2), (0, 0))
    fox = metrics.by_class(labels, softmax(logits, axis=1), ["cat", "dog", "fox"])["fox"]
    assert (fox["recall"], fox["precision"]["share"], fox["f1"]) == (None, 0, 0)


def test_the_truth_is_among_the_top_k_or_not() -> None:
    probabilities = np.array([[0.4, 0.3, 0.2, 0.1]] * 4)
    labels = np.array([0, 1, 2, 3], dtype=np.int64)
    assert [metrics.top_k(labels, probabilities, k).right for k in (1, 2, 3, 4)] == [1, 2, 3, 4]


def test_of_equal_probabilities_the_first_classes_are_the_top() -> None:
    probabilities = np.full((4, 4), 0.25)
    assert metrics.top_k(np.array([0, 1, 2, 3], dtype=np.int64), probabilities, 3).right == 3


def test_the_worst_pairs_come_first_and_right_verdicts_are_none() -> None:
    counts = np.array([[50, 3, 0], [0, 6, 4], [3, 0, 1]], dtype=np.int64)
    worst = metrics.worst_pairs(counts, ["a", "b", "c"])
    pairs = [(pair["truth"], pair["verdict"], pair["count"], pair["of"]) for pair in worst]
    # Of two that happened three times each, the one of fewer pictures is worse.
    assert pairs == [("b", "c", 4, 10), ("c", "a", 3, 4), ("a", "b", 3, 53)]
    assert metrics.worst_pairs(counts, ["a", "b", "c"], limit=1) == worst[:1]


def constructed(shares: dict[float, int], per_bin: int) -> tuple[Ints, Floats]:
    """`per_bin` verdicts at each probability, of which the given number is right."""
    confidence = np.repeat(list(shares), per_bin)
    right = np.concatenate([np.arange(per_bin) < count for count in shares.values()])
    return np.where(right, 0, 1), np.stack([confidence, 1 - confidence], axis=1)


def test_probabilities_that_come_true_have_no_calibration_error() -> None:
    labels, probabilities = constructed({0.6: 6, 0.7: 7, 0.8: 8, 0.9: 9}, 10)
    assert metrics.calibration_error(labels, probabilities) == pytest.approx(0, abs=1e-12)


def test_the_calibration_error_is_the_mean_distance_weighted_by_count() -> None:
    labels, probabilities = constructed({0.9: 5, 0.6: 6, 0.7: 10}, 10)
    # (10 * |0.5 - 0.9| + 10 * 0 + 10 * |1.0 - 0.7|) / 30
    assert metrics.calibration_error(labels, probabilities) == pytest.approx(0.7 / 3)


def test_the_bins_are_those_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    confidence = rng.uniform(0.5, 1, 500)
    right = rng.random(500) < confidence**2
    bins = metrics.reliability(np.where(right, 0, 1), np.stack([confidence, 1 - confidence], axis=1))
    shares, means = calibration_curve(right, confidence, n_bins=metrics.BINS, strategy="uniform")
    assert [row["share"] for row in bins] == pytest.approx(list(shares))
    assert [row["confidence"] for row in bins] == pytest.approx(list(means))
    assert sum(row["count"] for row in bins) == 500
    assert all(row["above"] < row["confidence"] <= row["up_to"] for row in bins)


def test_classes_with_fewer_than_ten_pictures_are_not_judged() -> None:
    labels = np.repeat([0, 1, 2], [10, 9, 1])
    assert metrics.too_few(labels, ["daisy", "rose", "tulip", "lily"]) == {"rose": 9, "tulip": 1, "lily": 0}
    assert metrics.too_few(labels[:10], ["daisy"]) == {}


def test_mcnemar_weighs_only_where_two_classifiers_differ() -> None:
    def sides(first: int, second: int, both: int) -> tuple[Bools, Bools]:
        return np.repeat([True, False, True], [first, second, both]), np.repeat(
            [False, True, True], [first, second, both]
        )

    # 2 * (C(15,0) + C(15,1) + C(15,2) + C(15,3)) / 2^15 = 1152 / 32768
    assert metrics.mcnemar(*sides(12, 3, 100)) == {
        "only_first": 12,
        "only_second": 3,
        "p": pytest.approx(0.03516, abs=1e-5),
    }
    assert metrics.mcnemar(*sides(3, 12, 0))["p"] == pytest.approx(0.03516, abs=1e-5)
    assert metrics.mcnemar(*sides(0, 0, 7)) == {"only_first": 0, "only_second": 0, "p": 1.0}


def test_a_summary_of_two_classes() -> None:
    labels = np.array([0, 1, 1], dtype=np.int64)
    logits = np.log(np.array([[0.5, 0.5], [0.25, 0.75], [0.9, 0.1]]))
    figures = metrics.summary(labels, logits, ["cat", "dog"], 2.0)
    # Of equal probabilities the first class is the verdict.
    assert (figures["right"], figures["count"]) == (2, 3)
    assert figures["confusion"] == [[1, 0], [1, 1]]
    # -(ln 0.5 + ln 0.75 + ln 0.1) / 3
    assert figures["log_loss"] == pytest.approx(1.094471, abs=1e-6)
    # At T = 2 the odds become their square roots: 1, √3 : 1, 3 : 1.
    assert figures["log_loss_scaled"] == pytest.approx(
        -(np.log(1 / 2) + np.log(3**0.5 / (1 + 3**0.5)) + np.log(1 / 4)) / 3
    )
    assert figures["low"] < figures["accuracy"] < figures["high"]
    assert figures["balanced_accuracy"] == pytest.approx((1 + 0.5) / 2)
    # Three bins of one picture each: (|1 - 0.5| + |1 - 0.75| + |0 - 0.9|) / 3
    assert figures["ece"] == pytest.approx(1.65 / 3)
    assert figures["ece_scaled"] == pytest.approx((0.5 + (1 - 3**0.5 / (1 + 3**0.5)) + 0.75) / 3)
    assert "top_k" not in figures
    assert "worst_pairs" not in figures


def test_balanced_accuracy_is_of_the_classes_that_occur() -> None:
    labels, logits = verdicts((0, 0), (0, 0), (0, 0), (1, 2))
    assert metrics.summary(labels, logits, ["cat", "dog", "fox"], 1.0)["balanced_accuracy"] == 0.5


@pytest.mark.parametrize(("classes", "depths"), [(3, []), (4, ["3"]), (5, ["3"]), (37, ["3", "5"])])
def test_a_summary_of_many_classes_has_top_k_and_pairs(classes: int, depths: list[str]) -> None:
    labels, logits = verdicts((0, 1), (0, 0), classes=classes)
    figures = metrics.summary(labels, logits, [f"class {index}" for index in range(classes)], 1.0)
    assert list(figures["top_k"]) == depths
    assert [(pair["truth"], pair["verdict"]) for pair in figures["worst_pairs"]] == [("class 0", "class 1")]
    json.dumps(figures, allow_nan=False)


def test_a_certain_mistake_has_a_finite_log_loss() -> None:
    assert metrics.log_loss(np.array([1], dtype=np.int64), np.array([[1.0, 0.0]])) == pytest.approx(27.631, abs=1e-3)
