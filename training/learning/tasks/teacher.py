"""A teacher: its network, its answers to the train split, and the loss of a student that matches them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from handler.files import UserError
from training.config import DistillConfig
from training.data.manifest import Picture
from training.learning.crossfit import check_groups, cross_fitted
from training.learning.model import (
    IMAGENET,
    IMAGENET_CLASSES,
    Classifier,
    build,
    head_names,
    weights_digest,
    weights_source,
)
from training.learning.tasks.context import Context
from training.learning.tasks.frozen import features_of, without_head
from training.learning.views import Features, Views
from training.learning.weights import read_weights

# Least probability whose logarithm is taken.
LEAST = 1e-6


@dataclass(slots=True)
class Answers:
    """A teacher's answers to the train split: features (pictures, views, k), and the last layer that reads them.

    Where labels are matched, the features are logits of the classes, and the layer changes nothing.
    """

    features: Features
    weight: torch.Tensor
    bias: torch.Tensor
    config: DistillConfig

    @property
    def outputs(self) -> int:
        return self.features.shape[-1] if self.config.match == "features" else len(self.weight)

    def loss(self, matched: torch.Tensor, indices: torch.Tensor, views: torch.Tensor) -> torch.Tensor:
        """Kullback-Leibler divergence of the teacher's classes (arXiv 1503.02531), or the squared distance of its
        features, in units of their variance (SimKD, arXiv 2203.14001)."""
        chosen = torch.from_numpy(self.features[indices.numpy(), views.numpy()]).to(matched.device).float()
        if self.config.match == "features":
            return functional.mse_loss(matched.float(), chosen) / chosen.var()
        logits = chosen @ self.weight.to(matched.device).t() + self.bias.to(matched.device)
        temperature = self.config.temperature
        divergence = functional.kl_div(
            (matched.float() / temperature).log_softmax(1), (logits / temperature).softmax(1), reduction="batchmean"
        )
        return divergence * temperature**2


def ask_teacher(context: Context) -> tuple[Answers, dict[str, Any]]:
    """Return the teacher's answers to the train split's fixed crops, and facts about it for the checkpoint.

    Raises:
        UserError: the teacher cannot be had, or cannot teach.
    """
    config = context.config
    distill, views_count = config.distill, config.views.count
    assert distill.teacher is not None
    network = teacher_network(distill.teacher, distill.teacher_weights)
    rest, head = without_head(network)
    if not isinstance(head, nn.Linear):
        raise UserError(f"{distill.teacher} cannot teach: its last layer is not linear.")
    name = f"{distill.teacher} {weights_digest(rest)} {context.amp}"
    views = Views(distill.teacher_size, views_count, config.train.min_area, "squeeze")
    rest, pictures = rest.eval().to(context.group.device), context.manifest.split("train")
    if distill.match == "labels":
        labels, groups = [picture.label for picture in pictures], [picture.group for picture in pictures]
        check_groups(labels, groups, context.manifest.classes)
    features = features_of(context, rest, name, views, pictures, "the teacher's answers")
    facts = {
        "name": distill.teacher,
        "source": weights_source(distill.teacher, distill.teacher_weights),
        "weights_sha256": weights_digest(network),
        "size": distill.teacher_size,
        "views": views_count,
        "match": distill.match,
    }
    if distill.match == "labels":
        return _labelled(features, pictures, context.manifest.classes, distill), facts
    return Answers(features, head.weight.detach(), head.bias.detach(), distill), facts


def _labelled(features: Features, pictures: Sequence[Picture], classes: list[str], config: DistillConfig) -> Answers:
    """Return the answers of a last layer on the features that is cross-fitted on the pictures' labels."""
    labels = np.array([classes.index(picture.label) for picture in pictures], dtype=np.int64)
    probabilities = cross_fitted(features, labels, [picture.group for picture in pictures])
    logits = np.log(probabilities.clip(LEAST)).astype(np.float16)
    return Answers(logits, torch.eye(len(classes)), torch.zeros(len(classes)), config)


def teacher_network(arch: str, weights: str) -> Classifier:
    """Build a teacher with as many classes as its weights have.

    Raises:
        UserError: the network or its weights cannot be had.
    """
    if weights == IMAGENET:
        return build(arch, IMAGENET_CLASSES, IMAGENET)
    state = read_weights(Path(weights)).state
    names = head_names(build(arch, 3).backbone)  # of two classes the baseline has one output
    last = state.get(names.get("bias", ""), state.get(f"backbone.{names.get('bias', '')}"))
    if last is None:
        raise UserError(f"{weights} is not of {arch}: it has no last layer {names.get('bias')}.")
    return build(arch, len(last), weights)
