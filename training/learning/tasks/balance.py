"""Classes of unequal size: weights of the loss, and the order of an epoch."""

from collections.abc import Sequence

import torch

from training.config import TrainConfig
from training.data.sampler import SeededSampler
from training.learning.runtime import Group


def class_weights(labels: Sequence[int], classes: int, train: TrainConfig) -> torch.Tensor | None:
    """Inverse shares of the classes, whose mean over `labels` is 1, where `train.class_weights` asks for them."""
    if train.class_weights == "none":
        return None
    counts = torch.bincount(torch.tensor(labels), minlength=classes)
    return len(labels) / (classes * counts.clamp(min=1).float())


def epoch_sampler(
    train: TrainConfig, labels: Sequence[int], epoch: int, size: int, views: int, group: Group
) -> SeededSampler:
    """The order of an epoch that `train.sampler` asks for."""
    balanced = labels if train.sampler == "balanced" else None
    batch = train.pictures_per_step
    return SeededSampler(len(labels), batch, train.seed, epoch, size, views, group.rank, group.world, balanced)
