"""Cross-fitted probabilities: each picture is judged by a classifier that saw neither it nor its near-duplicates.

A classifier that was trained on a wrong label agrees with it. One that was not disagrees, so that the probability of
the given label is small (Northcutt et al., "Confident Learning", JAIR 70, 2021).
"""

from collections.abc import Sequence

import numpy as np
from sklearn.linear_model import LogisticRegression  # type: ignore[import-untyped]
from sklearn.model_selection import StratifiedGroupKFold  # type: ignore[import-untyped]
from sklearn.pipeline import make_pipeline  # type: ignore[import-untyped]
from sklearn.preprocessing import StandardScaler  # type: ignore[import-untyped]

from handler.files import UserError
from training.evaluation.metrics import Floats, Ints
from training.learning.views import Features

FOLDS = 5
# Inverse strength of the penalty, for standardised features, in units of one over the number of pictures. A weak
# penalty fits the wrong labels; of three tried on the released model's pictures, this one agreed with most labels.
PENALTY = 20.0
ITERATIONS = 300


def check_groups(labels: Sequence[str], groups: Sequence[str], classes: Sequence[str] = (), folds: int = FOLDS) -> None:
    """Refuse pictures that cannot be cross-fitted.

    Args:
        labels: of each picture.
        groups: name of each picture's group of near-duplicates.
        classes: that must have pictures, beside those of `labels`.

    Raises:
        UserError: there is one class, or a class has fewer groups than there are folds.
    """
    of_class: dict[str, set[str]] = {label: set() for label in classes}
    for label, group in zip(labels, groups, strict=True):
        of_class.setdefault(label, set()).add(group)
    if len(of_class) < 2:
        raise UserError("Labels are judged by the pictures of other classes: at least two classes are needed.")
    for label, names in of_class.items():
        if len(names) < folds:
            raise UserError(
                f"The class {label} has {len(names)} pictures that are not near-duplicates of each other: at least "
                f"{folds} are needed."
            )


def cross_fitted(features: Features, labels: Ints, groups: Sequence[str], folds: int = FOLDS) -> Floats:
    """Return each view's probabilities by a logistic regression on the folds that its picture is not in.

    Args:
        features: (n, views, k). The regression is fitted on the mean of a picture's views.
        labels: (n,), numbers of the classes from 0 on without a gap.
        groups: name of each picture's group of near-duplicates, which shares a fold; `check_groups` has passed them.

    Returns:
        (n, views, classes).
    """
    classes = int(labels.max()) + 1
    means = features.mean(axis=1, dtype=np.float32)
    result = np.zeros((*features.shape[:2], classes))
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=0)
    for fitted, held_out in splitter.split(means, labels, groups):
        regression = LogisticRegression(C=PENALTY / len(fitted), max_iter=ITERATIONS)
        classifier = make_pipeline(StandardScaler(), regression)
        classifier.fit(means[fitted], labels[fitted])
        for view in range(features.shape[1]):
            result[held_out, view] = classifier.predict_proba(features[held_out, view].astype(np.float32))
    return result
