"""The task of a run, as the training loop sees it: batches of an epoch, outputs, and the loss of what is matched."""

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import torch
from torch import nn

from training.data.loaders import Batch
from training.learning.model import State
from training.learning.tasks.context import Context
from training.learning.tasks.head import HeadTask
from training.learning.tasks.picture import PictureTask


class Task(Protocol):
    """The interface between a task and the training loop."""

    @property
    def student(self) -> nn.Module:
        """The trained module: inputs -> (logits, outputs to match or None)."""

    @property
    def answering(self) -> nn.Module:
        """The part of it whose weights are averaged, validated and released: inputs -> logits."""

    @property
    def frozen(self) -> Sequence[nn.Module]:
        """The blocks of the trained module that stay as they are."""

    @property
    def teacher(self) -> dict[str, Any] | None:
        """Facts about the teacher, for the checkpoint and the card."""

    @property
    def count(self) -> int:
        """Pictures to train on."""

    @property
    def class_weights(self) -> torch.Tensor | None:
        """Factors of each picture's loss by its class, float32 (classes,), or None where all weigh the same."""

    def batches(self, epoch: int, size: int) -> Iterator[Batch]:
        """Inputs, labels, indices and views of one epoch."""

    def validation(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Inputs and labels of this process' share of the validation split."""

    def matched_loss(self, matched: torch.Tensor, indices: torch.Tensor, views: torch.Tensor) -> torch.Tensor:
        """Return the loss of the outputs beside the logits, where there are any."""

    def released(self, averaged: State) -> State:
        """The classifier's state for what was averaged."""

    def averaged(self, released: State) -> State:
        """The way back."""


def make_task(context: Context) -> Task:
    """Return the task that the config describes.

    Raises:
        UserError: a network or weights that cannot be had.
    """
    return HeadTask(context) if context.config.model.freeze_backbone else PictureTask(context)
