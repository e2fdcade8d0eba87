"""Labels that a reviewer agrees with: how good it would be as a teacher, by split and source of pictures."""

from collections.abc import Sequence

import numpy as np

from training.audit.networks import Floats
from training.data.manifest import Picture
from training.data.split import SPLITS
from training.evaluation.metrics import Proportion, accuracy
from training.evaluation.sources import domains


def agreement(pictures: Sequence[Picture], classes: Sequence[str], probabilities: Floats) -> dict[str, Proportion]:
    """Return how many labels the most probable class agrees with, by split, and by split and source of several.

    Args:
        probabilities: (n, classes), of each picture by a classifier that did not see it.
    """
    labels = np.array([classes.index(picture.label) for picture in pictures], dtype=np.int64)
    predicted = probabilities.argmax(axis=1)
    result = {}
    for split in SPLITS:
        rows = np.array([row for row, picture in enumerate(pictures) if picture.split == split], dtype=np.int64)
        if not len(rows):
            continue
        sources = domains([pictures[row] for row in rows], list(classes))
        for source, some in sources.items():
            name = f"{split}, {source}" if len(sources) > 1 else split
            result[name] = accuracy(labels[rows[some]], predicted[rows[some]])
    return result
