"""Accuracy of several models and of their mean, on the split on which such things are decided."""

from collections.abc import Sequence

from handler.preprocess import InputSpec
from training.data.loaders import EvalPictures
from training.data.manifest import Manifest
from training.evaluation.metrics import Proportion, proportion
from training.evaluation.trained import DECIDED_ON, Progress, pictures_of, right_verdicts
from training.learning.checkpoint import Checkpoint, load_trained
from training.learning.model import Classifier


def accuracies(
    mean: Checkpoint, members: Sequence[Classifier], manifest: Manifest, spec: InputSpec, progress: Progress
) -> list[Proportion]:
    """Return the accuracy of each member and, last, of the mean, on the val split.

    Args:
        spec: input that all are asked at.

    Raises:
        UserError: the split is empty, or a network answers with numbers that are not finite.
    """
    pictures = EvalPictures(manifest.root, pictures_of(manifest, DECIDED_ON), mean.classes, spec)
    networks = [*members, load_trained(mean)]
    total = len(networks) * len(pictures)

    def share(number: int) -> Proportion:
        before = number * len(pictures)
        right = right_verdicts(networks[number], pictures, mean, lambda done, _: progress(before + done, total))
        return proportion(int(right.sum()), len(right))

    return [share(number) for number in range(len(networks))]
