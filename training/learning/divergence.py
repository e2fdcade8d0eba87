"""Divergence of a run: for several epochs, a loss far beyond that of guessing."""

import math
from collections.abc import Sequence

from handler.files import UserError
from training.config import TrainConfig

# Guessing costs ln(classes). A healthy run is below that soon; one that is sure and wrong is a few times above it.
FAR = 10.0
# Averaged weights and norms take some epochs to settle.
EPOCHS = 5


def refuse_divergence(val_losses: Sequence[float], classes: int, recipe: TrainConfig) -> None:
    """Judge the validation losses of the epochs so far.

    Raises:
        UserError: each of the last EPOCHS, or of all where the run has fewer, is FAR times that of guessing.
    """
    judged, guessing = min(EPOCHS, recipe.epochs), math.log(classes)
    if len(val_losses) < judged or min(val_losses[-judged:]) <= FAR * guessing:
        return
    raise UserError(
        f"The run has diverged: its validation loss is {val_losses[-1]:.3g} after {len(val_losses)} of {recipe.epochs} "
        f"epochs, where guessing among {classes} classes costs {guessing:.2f}. Lower train.learning_rate (it is "
        f"{recipe.learning_rate:g}), or start from trained weights by --config small; in another --run."
    )
