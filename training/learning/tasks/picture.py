"""The whole network, trained on pictures, with or without a teacher."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from torch import nn

from handler.preprocess import InputSpec
from training.data.decoded import Decoded, remove_others
from training.data.decoded import build as build_decoded
from training.data.loaders import Batch, EvalPictures, TrainPictures, eval_loader, train_loader
from training.learning.freezing import freeze_to
from training.learning.model import Classifier, State, build, head_inputs, head_of
from training.learning.runtime import seed_everything
from training.learning.tasks.balance import class_weights, epoch_sampler
from training.learning.tasks.context import Context
from training.learning.tasks.teacher import Answers, ask_teacher


class Student(nn.Module):
    """A classifier, and a second last layer on the same features that a teacher's answers are learnt through.

    Args:
        outputs: of the second layer; 0 for none.
        own: whether the classifier's own logits are matched.
    """

    def __init__(self, classifier: Classifier, outputs: int, own: bool = False) -> None:
        super().__init__()
        self.classifier = classifier
        self.own = own
        self.second = nn.Linear(head_inputs(classifier.backbone), outputs) if outputs else None

    def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """uint8 (n, size, size, 3) -> logits (n, classes), and what is matched: (n, outputs), the logits, or None."""
        if self.second is None:
            logits = self.classifier(pixels)
            return logits, logits if self.own else None
        features: list[torch.Tensor] = []
        head = head_of(self.classifier.backbone)
        with head.register_forward_pre_hook(lambda module, inputs: features.append(inputs[0])):
            logits = self.classifier(pixels)
        return logits, self.second(features[0])


class PictureTask:
    """The whole network on pictures, with or without a teacher."""

    def __init__(self, context: Context) -> None:
        config, manifest, group = context.config, context.manifest, context.group
        classes, model, train = manifest.classes, config.model, config.train
        self.context = context
        # First what may be wrong in a config, then what takes minutes.
        seed_everything(train.seed)
        self.answering = build(model.arch, len(classes), model.weights, model.weights_sha256, classes)
        self.frozen = freeze_to(self.answering.backbone, model.freeze_to) if model.freeze_to else []
        pictures = manifest.split("train")
        decoded = decode_ahead(context) if train.decoded_side else None
        self.pictures = TrainPictures(manifest.root, pictures, classes, train, decoded)
        self.count = len(pictures)
        self.class_weights = class_weights(self.pictures.labels, len(classes), train)
        self.answers: Answers | None = None
        self.teacher: dict[str, Any] | None = None
        if config.distill.teacher is not None:
            self.answers, self.teacher = ask_teacher(context)
        seed_everything(train.seed, 1)  # a cache that has to be filled uses random numbers up
        own = self.answers is not None and config.distill.match == "labels"
        self.student = Student(self.answering, self.answers.outputs if self.answers and not own else 0, own)
        spec = InputSpec(config.input.size, config.input.resize)
        share = manifest.split("val")[group.rank :: group.world]
        self.val = EvalPictures(manifest.root, share, classes, spec)

    def batches(self, epoch: int, size: int) -> Iterator[Batch]:
        config = self.context.config
        views = config.views.count if self.answers else 0
        sampler = epoch_sampler(config.train, self.pictures.labels, epoch, size, views, self.context.group)
        return train_loader(self.pictures, sampler, config.train.workers)

    def validation(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        return eval_loader(self.val, self.context.config.train.workers)

    def matched_loss(self, matched: torch.Tensor, indices: torch.Tensor, views: torch.Tensor) -> torch.Tensor:
        assert self.answers is not None
        return self.context.config.distill.weight * self.answers.loss(matched, indices, views)

    def released(self, averaged: State) -> State:
        return averaged

    def averaged(self, released: State) -> State:
        return released


def decode_ahead(context: Context) -> Decoded:
    """Return the train split decoded, by the first process for all; what was decoded for other manifests goes."""
    manifest, train, group = context.manifest, context.config.train, context.group
    pictures, side = manifest.split("train"), train.decoded_side
    if group.rank == 0:
        on_work = partial(context.on_work, "pictures decoded")
        decoded = build_decoded(context.cache, manifest.root, pictures, side, train.workers, on_work, context.say)
        for sentence in remove_others(decoded):
            context.say(sentence)
    group.wait()
    return decoded if group.rank == 0 else build_decoded(context.cache, manifest.root, pictures, side)
