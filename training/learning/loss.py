"""The loss of a batch: cross-entropy of its labels, mixup, and what a teacher adds."""

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from training.config import TrainConfig
from training.data.loaders import Batch
from training.learning.tasks.task import Task


def mixing_share(recipe: TrainConfig, epoch: int, step: int) -> float:
    """Return the share of each picture in its mixture with the one before it; 1 where the config mixes none."""
    if not recipe.mixup:
        return 1.0
    return float(np.random.default_rng([recipe.seed, epoch, step]).beta(recipe.mixup, recipe.mixup))


def mix(inputs: torch.Tensor, share: float) -> torch.Tensor:
    """Mixup (arXiv 1710.09412): `share` of each input and the rest of its neighbour's."""
    mixed = share * inputs.float() + (1 - share) * inputs.float().roll(1, 0)
    return mixed.round().to(torch.uint8) if inputs.dtype == torch.uint8 else mixed


def loss_of(
    batch: Batch,
    network: nn.Module,
    task: Task,
    recipe: TrainConfig,
    share: float,
    device: torch.device,
    amp: torch.dtype | None,
) -> torch.Tensor:
    """Mean loss of a batch: cross-entropy of the labels, and what the task adds.

    Args:
        share: of each picture in its mixture with the one before it; 1 leaves it alone.
    """
    inputs, labels, indices, views = batch
    inputs, labels = inputs.to(device, non_blocking=True), labels.to(device, non_blocking=True)
    parts = [(1.0, 0)]  # a weight, and how many places before a picture that lies whose targets it weighs
    if share < 1:
        inputs, parts = mix(inputs, share), [(share, 0), (1 - share, 1)]
    with torch.autocast(device.type, dtype=amp or torch.bfloat16, enabled=amp is not None):
        logits, matched = network(inputs)
    loss = torch.zeros((), device=device)
    for weight, places in parts:
        loss = loss + weight * label_loss(logits.float(), labels.roll(places), recipe, task.class_weights)
        if matched is not None:
            loss = loss + weight * task.matched_loss(matched, indices.roll(places), views.roll(places))
    return loss


def label_loss(
    logits: torch.Tensor, targets: torch.Tensor, recipe: TrainConfig, class_weights: torch.Tensor | None
) -> torch.Tensor:
    """Mean cross-entropy; with weights it is divided by the pictures and not by their weights, so that a batch of one
    class has that class's weight."""
    smoothing = recipe.label_smoothing
    if class_weights is None:
        return functional.cross_entropy(logits, targets, label_smoothing=smoothing)
    losses = functional.cross_entropy(logits, targets, label_smoothing=smoothing, reduction="none")
    return (losses * class_weights.to(logits.device)[targets]).mean()
