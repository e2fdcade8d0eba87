"""Storage of a release's kernels: as fp16, half the size, where no answer moves by much; else as fp32."""

from collections.abc import Callable
from typing import Any

import torch

from handler.files import UserError
from handler.preprocess import Pixels
from handler.runtimes.runtime import Logits
from training.learning.model import Classifier, State
from training.release import parity


def stored_state(model: Classifier, kernels: torch.dtype) -> State:
    """A copy of the backbone's state with its kernels in `kernels`, everything else as it is."""
    return {
        name: tensor.to(
            kernels if tensor.ndim > 1 and tensor.is_floating_point() else tensor.dtype,
            memory_format=torch.contiguous_format,
            copy=True,
        )
        for name, tensor in model.backbone.state_dict().items()
    }


def choose_kernels(
    model: Classifier, logits: Callable[[Pixels], Logits], pixels: Pixels
) -> tuple[State, Logits, dict[str, Any], dict[str, Any]]:
    """Round the kernels of `model` to fp16, or leave them as they are where the released probabilities would move.

    What is compared are the probabilities that clients get: after the temperature, which multiplies what rounding does
    to a logit where it is below 1.

    Args:
        logits: those of `model`, which is changed in place.

    Returns:
        The state to store, its probabilities of `pixels`, how the kernels are stored, and the figures of
        `parity.compare` with the kernels as they were trained.

    Raises:
        UserError: the network answers with numbers that are none.
    """
    trained = parity.answers(logits, pixels)
    exact = stored_state(model, torch.float32)
    rounded = stored_state(model, torch.float16)
    model.backbone.load_state_dict(rounded)
    answers = parity.answers(logits, pixels)
    try:
        figures = parity.compare(answers, trained, parity.ROUNDING, "The release", "its checkpoint")
    except UserError:
        moved = parity.difference(answers, trained)
        facts = {"stored": "fp32", "fp16_difference": moved, "allowed": parity.ROUNDING}
        model.backbone.load_state_dict(exact)
        answers = parity.answers(logits, pixels)
        figures = parity.compare(answers, trained, parity.ROUNDING, "The release", "its checkpoint")
        return exact, answers, facts, figures
    return rounded, answers, {"stored": "fp16"}, figures
