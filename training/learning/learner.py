"""The learner: a task's network, its optimizer and the running mean of its weights."""

from dataclasses import dataclass

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from handler.files import UserError
from training.data.manifest import Manifest
from training.data.sampler import step_count
from training.learning.checkpoint import Checkpoint
from training.learning.model import State
from training.learning.optimizer import make_optimizer, running_mean
from training.learning.runtime import seed_everything
from training.learning.small_maps import use_products
from training.learning.tasks.context import Context
from training.learning.tasks.task import Task, make_task


@dataclass(frozen=True, slots=True)
class Learner:
    """All that changes from step to step."""

    task: Task
    student: nn.Module
    averaged: AveragedModel
    """The running mean of the weights of `task.answering`."""
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    amp: torch.dtype | None
    """Half precision of a step, or None."""
    steps: int
    """Steps per epoch."""

    def load(self, checkpoint: Checkpoint) -> None:
        """Go on where a checkpoint of the same run ends."""
        self.student.load_state_dict(checkpoint.model)
        self.averaged.module.load_state_dict(self.task.averaged(checkpoint.ema))
        self.averaged.n_averaged.fill_(checkpoint.epoch * self.steps)
        self.optimizer.load_state_dict(checkpoint.optimizer)
        self.scaler.load_state_dict(checkpoint.scaler or {})


def make_learner(context: Context, start: State | None = None) -> Learner:
    """Return a learner before its first step.

    Args:
        start: state of the trained module of the run that this one starts from.

    Raises:
        UserError: a network or weights that cannot be had.
    """
    config, group, amp = context.config, context.group, context.amp
    recipe, device = config.train, group.device
    seed_everything(recipe.seed)
    task = make_task(context)
    student = task.student.to(device)
    if start is not None:
        # Its averaged weights are in the classifier; what was learnt of a teacher comes along where it fits.
        student.load_state_dict(_like(start, student, "second."), strict=False)
    if amp is torch.bfloat16 and device.type == "cpu":
        use_products(student)
    if config.model.freeze_backbone:
        amp = None  # half a last layer saves nothing
    averaged = AveragedModel(task.answering, multi_avg_fn=running_mean(recipe.ema_decay), use_buffers=True)
    optimizer = make_optimizer(student, recipe)
    scaler = torch.amp.GradScaler(device.type, enabled=amp is torch.float16)
    steps = step_count(task.count, recipe.pictures_per_step, group.world)
    return Learner(task, student, averaged, optimizer, scaler, amp, steps)


def _like(state: State, module: nn.Module, prefix: str) -> State:
    """The tensors of a state whose names begin so and that have the shape of the module's own."""
    own = module.state_dict()
    return {
        name: tensor
        for name, tensor in state.items()
        if name.startswith(prefix) and name in own and own[name].shape == tensor.shape
    }


def check_manifest(manifest: Manifest) -> None:
    """
    Raises:
        UserError: there is too little to train on.
    """
    classes = manifest.classes
    if len(classes) < 2:
        raise UserError(f"A classifier needs two classes; the manifest has {len(classes)}: {', '.join(classes)}.")
    for split in ("train", "val"):
        if not manifest.split(split):
            raise UserError(f"The manifest has no picture in its {split} split: prepare more pictures.")
    absent = sorted(set(classes) - {picture.label for picture in manifest.split("train")})
    if absent:
        raise UserError(f"There is no picture to train on of {', '.join(absent)}: prepare more pictures.")
