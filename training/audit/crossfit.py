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
from training.audit.networks import Floats
from training.evaluation.metrics import Ints
from training.learning.views import Features

FOLDS = 5
# Inverse strength of the penalty, for standardised features, in units of one over the number of pictures. A weak
# penalty fits the wrong labels; of three tried on the released model's pictures, this one agreed with most labels.
PENALTY = 20.0
ITERATIONS = 300


def cross_fitted(features: Features, labels: Ints, groups: Sequence[str], folds: int = FOLDS) -> Floats:
    """Return each picture's probabilities by a logistic regression on the folds that it is not in, (n, classes).

    Args:
        features: (n, k).
        labels: (n,), numbers of the classes from 0 on without a gap.
        groups: name of each picture's group of near-duplicates, which shares a fold.

    Raises:
        UserError: a class has fewer groups than there are folds.
    """
    classes = int(labels.max()) + 1
    for number in range(classes):
        count = len({group for group, label in zip(groups, labels, strict=True) if label == number})
        if count < folds:
            raise UserError(
                f"A class has {count} pictures that are not near-duplicates of each other; {folds} folds need at least "
                f"{folds}."
            )
    rows, result = features.astype(np.float32), np.zeros((len(labels), classes))
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=0)
    for fitted, held_out in splitter.split(rows, labels, groups):
        regression = LogisticRegression(C=PENALTY / len(fitted), max_iter=ITERATIONS)
        classifier = make_pipeline(StandardScaler(), regression)
        classifier.fit(rows[fitted], labels[fitted])
        result[held_out] = classifier.predict_proba(rows[held_out])
    return result
