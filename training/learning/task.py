"""Tasks of training: a whole network on pictures, or its last layer on the frozen rest's outputs.

The loop in train.py sees neither: it asks for batches of an epoch, for outputs and for their loss.
"""

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from handler.files import UserError
from handler.preprocess import InputSpec
from training.config import Config, DistillConfig, TrainConfig
from training.data.decoded import Decoded, remove_others
from training.data.decoded import build as build_decoded
from training.data.loaders import Batch, EvalPictures, TrainPictures, eval_loader, train_loader
from training.data.manifest import Manifest
from training.data.sampler import SeededSampler
from training.learning.model import (
    IMAGENET,
    IMAGENET_CLASSES,
    Classifier,
    State,
    build,
    head_inputs,
    head_names,
    head_of,
    weights_digest,
    weights_source,
)
from training.learning.runtime import Group, seed_everything
from training.learning.views import Cache, Features, Views, fill
from training.learning.weights import read_weights

Progress = Callable[[str, int, int], None]
Say = Callable[[str], None]


def silent(sentence: str) -> None:
    pass


class Task(Protocol):
    """The interface between a task and the training loop."""

    @property
    def student(self) -> nn.Module:
        """The trained module: inputs -> (logits, outputs to match or None)."""

    @property
    def answering(self) -> nn.Module:
        """The part of it whose weights are averaged, validated and released: inputs -> logits."""

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


class Student(nn.Module):
    """A classifier, and a second last layer on the same features that a teacher's answers are learnt through."""

    def __init__(self, classifier: Classifier, outputs: int) -> None:
        super().__init__()
        self.classifier = classifier
        self.second = nn.Linear(head_inputs(classifier.backbone), outputs) if outputs else None

    def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """uint8 (n, size, size, 3) -> logits (n, classes), and (n, outputs) or None."""
        if self.second is None:
            return self.classifier(pixels), None
        features: list[torch.Tensor] = []
        head = head_of(self.classifier.backbone)
        with head.register_forward_pre_hook(lambda module, inputs: features.append(inputs[0])):
            logits = self.classifier(pixels)
        return logits, self.second(features[0])


@dataclass(slots=True)
class Answers:
    """A teacher's answers to the train split: features (pictures, views, k), and the last layer that reads them."""

    features: Features
    weight: torch.Tensor
    bias: torch.Tensor
    config: DistillConfig

    @property
    def outputs(self) -> int:
        return len(self.weight) if self.config.match == "classes" else self.features.shape[-1]

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


class PictureTask:
    """The whole network on pictures, with or without a teacher."""

    def __init__(
        self,
        config: Config,
        manifest: Manifest,
        group: Group,
        cache: Path,
        amp: torch.dtype | None,
        progress: Progress,
        say: Say = silent,
    ) -> None:
        classes, train = manifest.classes, config.train
        self.config, self.group = config, group
        # First what may be wrong in a config, then what takes minutes.
        seed_everything(train.seed)
        self.answering = build(
            config.model.arch, len(classes), config.model.weights, config.model.weights_sha256, classes
        )
        pictures, decoded = manifest.split("train"), None
        if train.decoded_side:
            decoded = decode_ahead(config, manifest, group, cache, progress, say)
        self.pictures = TrainPictures(manifest.root, pictures, classes, train, decoded)
        self.count = len(pictures)
        self.class_weights = class_weights(self.pictures.labels, len(classes), train)
        self.answers: Answers | None = None
        self.teacher: dict[str, Any] | None = None
        if config.distill.teacher is not None:
            self.answers, self.teacher = ask_teacher(config, manifest, group, cache, amp, progress, say)
        seed_everything(train.seed, 1)  # a cache that has to be filled uses random numbers up
        self.student = Student(self.answering, self.answers.outputs if self.answers else 0)
        spec = InputSpec(config.input.size, config.input.resize)
        share = manifest.split("val")[group.rank :: group.world]
        self.val = EvalPictures(manifest.root, share, classes, spec)

    def batches(self, epoch: int, size: int) -> Iterator[Batch]:
        train, group = self.config.train, self.group
        views = self.config.views.count if self.answers else 0
        sampler = epoch_sampler(train, self.pictures.labels, epoch, size, views, group)
        return train_loader(self.pictures, sampler, train.workers)

    def validation(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        return eval_loader(self.val, self.config.train.workers)

    def matched_loss(self, matched: torch.Tensor, indices: torch.Tensor, views: torch.Tensor) -> torch.Tensor:
        assert self.answers is not None
        return self.config.distill.weight * self.answers.loss(matched, indices, views)

    def released(self, averaged: State) -> State:
        return averaged

    def averaged(self, released: State) -> State:
        return released


class HeadTask:
    """The last layer alone, on features of the frozen rest: epochs of milliseconds."""

    teacher: dict[str, Any] | None = None

    def __init__(
        self,
        config: Config,
        manifest: Manifest,
        group: Group,
        cache: Path,
        amp: torch.dtype | None,
        progress: Progress,
        say: Say = silent,
    ) -> None:
        model, train = config.model, config.train
        self.config, self.group = config, group
        classes = manifest.classes
        classifier = build(model.arch, len(classes), model.weights, model.weights_sha256, classes)
        self.classifier = classifier
        rest, head = without_head(classifier)
        self.answering: nn.Module = head
        self.student: nn.Module = _Alone(head)
        name = f"{model.arch} {weights_digest(rest)} {amp}"
        rest = rest.eval().to(group.device)
        features = []
        for split, count in (("train", config.views.count), ("val", 0)):
            views = Views(config.input.size, count, train.min_area, config.input.resize)
            pictures = manifest.split(split)
            store = Cache(cache, name, views)
            mine = pictures[group.rank :: group.world]
            told = partial(progress, f"{split} pictures through the frozen network")
            with alone(store, group, say):
                fill(store, rest, manifest.root, mine, group.device, amp, train.workers, told)
                group.wait()
            features.append(store.read(pictures))
        self.train_features, self.val_features = features
        self.train_labels, self.val_labels = (
            torch.tensor([manifest.classes.index(picture.label) for picture in manifest.split(split)])
            for split in ("train", "val")
        )
        self.count = len(self.train_labels)
        self.class_weights = class_weights(self.train_labels.tolist(), len(manifest.classes), train)

    def batches(self, epoch: int, size: int) -> Iterator[Batch]:
        views_count, labels = self.config.views.count, self.train_labels.tolist()
        for samples in epoch_sampler(self.config.train, labels, epoch, size, views_count, self.group):
            indices = np.array([sample.position for sample in samples])
            views = np.array([sample.view for sample in samples])
            chosen = torch.from_numpy(self.train_features[indices, views]).float()
            yield chosen, self.train_labels[indices], torch.from_numpy(indices), torch.from_numpy(views)

    def validation(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        share = slice(self.group.rank, None, self.group.world)
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


def make_task(
    config: Config,
    manifest: Manifest,
    group: Group,
    cache: Path,
    amp: torch.dtype | None,
    progress: Progress,
    say: Say = silent,
) -> Task:
    """The task that the config describes.

    Args:
        progress: called with what is computed ahead of training, pictures done and pictures in all.
        say: told in a sentence what a person should know of the work ahead of training.

    Raises:
        UserError: a network or weights that cannot be had.
    """
    if config.model.freeze_backbone:
        return HeadTask(config, manifest, group, cache, amp, progress, say)
    return PictureTask(config, manifest, group, cache, amp, progress, say)


def decode_ahead(
    config: Config, manifest: Manifest, group: Group, cache: Path, progress: Progress, say: Say
) -> Decoded:
    """The train split decoded, by the first process for all; what was decoded for other manifests goes."""
    pictures, side = manifest.split("train"), config.train.decoded_side
    if group.rank == 0:
        done = partial(progress, "pictures decoded")
        decoded = build_decoded(cache, manifest.root, pictures, side, config.train.workers, done, say)
        for sentence in remove_others(decoded):
            say(sentence)
    group.wait()
    return decoded if group.rank == 0 else build_decoded(cache, manifest.root, pictures, side)


@contextmanager
def alone(store: Cache, group: Group, say: Say) -> Iterator[None]:
    """The processes of this run fill a cache together, and those of no other run at that time."""
    lock = store.alone(say) if group.rank == 0 else None
    group.wait()
    try:
        yield
    finally:
        if lock is not None:
            lock.release()


def without_head(classifier: Classifier) -> tuple[Classifier, nn.Module]:
    """A copy of `classifier` that ends with the features (n, k), and a copy of its last layer."""
    rest = copy.deepcopy(classifier)
    head = head_of(rest.backbone)
    prefix = next(name for name, module in rest.backbone.named_modules() if module is head)
    parent, _, name = prefix.rpartition(".")
    head_inputs(rest.backbone)  # refuses what is no linear layer
    setattr(rest.backbone.get_submodule(parent), name, nn.Identity())
    return rest, head


def ask_teacher(
    config: Config,
    manifest: Manifest,
    group: Group,
    cache: Path,
    amp: torch.dtype | None,
    progress: Progress,
    say: Say = silent,
) -> tuple[Answers, dict[str, Any]]:
    """The teacher's answers to the train split's fixed crops, from the cache where they are there."""
    distill, pictures = config.distill, manifest.split("train")
    assert distill.teacher is not None
    network = teacher_network(distill.teacher, distill.teacher_weights)
    rest, head = without_head(network)
    if not isinstance(head, nn.Linear):
        raise UserError(f"{distill.teacher} cannot teach: its last layer is not linear.")
    digest = weights_digest(network)
    views = Views(distill.teacher_size, config.views.count, config.train.min_area, "squeeze")
    store = Cache(cache, f"{distill.teacher} {weights_digest(rest)} {amp}", views)
    mine, told = pictures[group.rank :: group.world], partial(progress, "the teacher's answers")
    rest = rest.eval().to(group.device)
    with alone(store, group, say):
        fill(store, rest, manifest.root, mine, group.device, amp, config.train.workers, told)
        group.wait()
    answers = Answers(store.read(pictures), head.weight.detach(), head.bias.detach(), distill)
    facts = {
        "name": distill.teacher,
        "source": weights_source(distill.teacher, distill.teacher_weights),
        "weights_sha256": digest,
        "size": distill.teacher_size,
        "views": config.views.count,
        "match": distill.match,
    }
    return answers, facts


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
