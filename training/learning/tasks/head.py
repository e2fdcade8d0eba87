"""The last layer alone, trained on features of the frozen rest: epochs of milliseconds."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from training.data.loaders import Batch
from training.learning.model import State, build, head_names, weights_digest
from training.learning.tasks.balance import class_weights, epoch_sampler
from training.learning.tasks.context import Context
from training.learning.tasks.frozen import features_of, without_head
from training.learning.views import Views


class HeadTask:
    """The last layer alone, on features of the frozen rest."""

    teacher: dict[str, Any] | None = None
    frozen: Sequence[nn.Module] = ()

    def __init__(self, context: Context) -> None:
        config, manifest = context.config, context.manifest
        classes, model, train = manifest.classes, config.model, config.train
        self.context = context
        self.classifier = build(model.arch, len(classes), model.weights, model.weights_sha256, classes)
        rest, head = without_head(self.classifier)
        self.answering: nn.Module = head
        self.student: nn.Module = _Alone(head)
        name = f"{model.arch} {weights_digest(rest)} {context.amp}"
        rest = rest.eval().to(context.group.device)
        self.train_features, self.val_features = (
            features_of(
                context,
                rest,
                name,
                Views(config.input.size, count, train.min_area, config.input.resize),
                manifest.split(split),
                f"{split} pictures through the frozen network",
            )
            for split, count in (("train", config.views.count), ("val", 0))
        )
        self.train_labels, self.val_labels = (
            torch.tensor([classes.index(picture.label) for picture in manifest.split(split)])
            for split in ("train", "val")
        )
        self.count = len(self.train_labels)
        self.class_weights = class_weights(self.train_labels.tolist(), len(classes), train)

    def batches(self, epoch: int, size: int) -> Iterator[Batch]:
        config, labels = self.context.config, self.train_labels.tolist()
        for samples in epoch_sampler(config.train, labels, epoch, size, config.views.count, self.context.group):
            indices = np.array([sample.position for sample in samples])
            views = np.array([sample.view for sample in samples])
            chosen = torch.from_numpy(self.train_features[indices, views]).float()
            yield chosen, self.train_labels[indices], torch.from_numpy(indices), torch.from_numpy(views)

    def validation(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        group = self.context.group
        share = slice(group.rank, None, group.world)
        yield torch.from_numpy(self.val_features[share, 0]).float(), self.val_labels[share]

    def matched_loss(self, matched: torch.Tensor, indices: torch.Tensor, views: torch.Tensor) -> torch.Tensor:
        raise AssertionError("a last layer has no teacher")

    def released(self, averaged: State) -> State:
        own = {f"backbone.{full}": averaged[name] for name, full in head_names(self.classifier.backbone).items()}
        return {**self.classifier.state_dict(), **own}

    def averaged(self, released: State) -> State:
        return {name: released[f"backbone.{full}"] for name, full in head_names(self.classifier.backbone).items()}


class _Alone(nn.Module):
    def __init__(self, head: nn.Module) -> None:
        super().__init__()
        self.head = head

    def forward(self, features: torch.Tensor) -> tuple[torch.Tensor, None]:
        return self.head(features), None
