"""The optimizer and its schedules: learning rate, size of the pictures, the running mean of the weights."""

import math
from collections.abc import Callable

import torch
from torch import nn

from training.config import TrainConfig
from training.learning.model import parameter_groups

Tensors = tuple[torch.Tensor, ...] | list[torch.Tensor]


def learning_rate(config: TrainConfig, step: int, steps_per_epoch: int) -> float:
    """Linear over the warm-up, then a cosine to zero at the end of the last epoch."""
    total = config.epochs * steps_per_epoch
    warm_up = min(round(config.warmup_epochs * steps_per_epoch), total // 4)
    if step < warm_up:
        return config.learning_rate * (step + 1) / warm_up
    return config.learning_rate * (1 + math.cos(math.pi * (step - warm_up) / max(1, total - warm_up))) / 2


def picture_size(config: TrainConfig, epoch: int) -> int:
    """Grows evenly from min_size to max_size, in multiples of 16 (the network halves a picture five times)."""
    share = epoch / max(1, config.epochs - 1)
    size = round((config.min_size + share * (config.max_size - config.min_size)) / 16) * 16
    return min(max(size, config.min_size), config.max_size)


def make_optimizer(model: nn.Module, config: TrainConfig) -> torch.optim.Optimizer:
    groups = parameter_groups(model, config.weight_decay)
    if config.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=config.learning_rate, momentum=0.9, nesterov=True)
    kind = torch.optim.AdamW if config.optimizer == "adamw" else torch.optim.Adam
    return kind(groups, lr=config.learning_rate)


def running_mean(decay: float) -> Callable[[Tensors, Tensors, torch.Tensor | int], None]:
    """An exponential mean whose decay grows to `decay`, as TensorFlow's does: of a short run's weights, too, it is a
    mean of those that were trained and not of those at random."""

    @torch.no_grad()
    def update(means: Tensors, values: Tensors, count: torch.Tensor | int) -> None:
        n = int(count)
        if means[0].is_floating_point():
            torch._foreach_lerp_(means, values, 1 - min(decay, (1 + n) / (10 + n)))
        else:
            torch._foreach_copy_(means, values)  # counters

    return update
