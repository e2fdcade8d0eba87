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
from training.evaluation.metrics import Floats
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

    Where labels or several teachers are matched, the features are logits of the classes, and the layer changes nothing.
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

    Where crops show the whole picture, there is one view of it for the teacher, which other verbs may have asked about.

    Raises:
        UserError: the teacher cannot be had, or cannot teach.
    """
    distill, count = context.config.distill, context.config.views.count
    assert distill.teacher is not None
    pictures, classes = context.manifest.split("train"), context.manifest.classes
    labels, groups = [picture.label for picture in pictures], [picture.group for picture in pictures]
    if distill.match == "labels":
        check_groups(labels, groups, classes)
    numbers = np.array([classes.index(label) for label in labels], dtype=np.int64)
    names = [name.strip() for name in distill.teacher.split(",")]
    networks = [teacher_network(name, distill.teacher_weights) for name in names]
    members, probabilities = list[dict[str, Any]](), list[Floats]()
    for name, network in zip(names, networks, strict=True):
        features, head = _features(context, name, network, pictures)
        if distill.match == "labels":
            probabilities.append(cross_fitted(features, numbers, groups))
        elif len(names) > 1:
            probabilities.append(own_classes(features, head))
        source = weights_source(name, distill.teacher_weights)
        members.append({"name": name, "source": source, "weights_sha256": weights_digest(network)})
    facts: dict[str, Any] = members[0] if len(members) == 1 else {"members": members}
    facts |= {"size": distill.teacher_size, "views": features.shape[1], "match": distill.match}
    if probabilities:
        logits = np.log(np.mean(probabilities, axis=0).clip(LEAST)).astype(np.float16)
        outputs = logits.shape[2]
        shown = np.broadcast_to(logits, (len(logits), count, outputs))
        return Answers(shown, torch.eye(outputs), torch.zeros(outputs), distill), facts
    shown = np.broadcast_to(features, (len(features), count, features.shape[2]))
    return Answers(shown, head.weight.detach(), head.bias.detach(), distill), facts


@torch.inference_mode()
def own_classes(features: Features, head: nn.Linear) -> Floats:
    """Return a teacher's probabilities of its own classes, float32 (pictures, views, classes)."""
    parts = np.array_split(features, len(features) // 1024 + 1)
    return torch.cat([head(torch.from_numpy(part).float()).softmax(2) for part in parts]).numpy()


def _features(
    context: Context, name: str, network: Classifier, pictures: Sequence[Picture]
) -> tuple[Features, nn.Linear]:
    """Return a network's features of the pictures' views, or of one view, the whole picture, and its last layer."""
    rest, head = without_head(network)
    if not isinstance(head, nn.Linear):
        raise UserError(f"{name} cannot teach: its last layer is not linear.")
    area = context.config.train.min_area
    count = context.config.views.count if area < 1 else 0
    views = Views(context.config.distill.teacher_size, count, area, "squeeze")
    known = f"{name} {weights_digest(rest)} {context.amp}"
    rest = rest.eval().to(context.group.device)
    return features_of(context, rest, known, views, pictures, "the teacher's answers"), head


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
