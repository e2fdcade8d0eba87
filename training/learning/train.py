"""The training loop, in plain sight.

    catsdogs train --data data --run runs/first                       # training/config.yaml
    catsdogs train --data data --run runs/quick --set train.epochs=2
    catsdogs train --data data --run runs/first --resume              # goes on after a kill
    torchrun --nproc-per-node 2 -m -- catsdogs train --data data --run runs/first    # `--`: torchrun has a --run too

Each epoch ends with a validation of the averaged weights, a line, and a checkpoint: `last.pt` to go on from,
`best.pt` to release.
"""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional
from torch.nn.parallel import DistributedDataParallel

from handler.files import UserError
from training.config import Config
from training.data.manifest import Manifest
from training.learning.batch import for_pictures
from training.learning.divergence import refuse_divergence
from training.learning.freezing import training_mode
from training.learning.history import EpochLine, gone_stale, read_history
from training.learning.learner import Learner, check_manifest, make_learner
from training.learning.loss import loss_of, mixing_share
from training.learning.optimizer import learning_rate, picture_size
from training.learning.run_folder import RunFolder
from training.learning.runtime import Group, choose_amp, process_group, seed_everything
from training.learning.tasks.context import Context, OnWork, Say, silent, silent_work

OnStep = Callable[[int, int, int, float], None]
OnEpoch = Callable[[EpochLine], None]
OnBegin = Callable[[Sequence[EpochLine]], None]


def train(
    config: Config,
    manifest: Manifest,
    run: Path,
    resume: bool = False,
    cache: Path | None = None,
    on_work: OnWork = silent_work,
    on_step: OnStep = lambda epoch, step, steps, rate: None,
    on_epoch: OnEpoch = lambda line: None,
    say: Say = silent,
    on_begin: OnBegin = lambda history: None,
) -> Path:
    """Train, and leave config.yaml, history.csv, curves.png, last.pt and best.pt in `run`.

    Started by torchrun, each process trains on its share of every batch; the first one alone writes and reports.

    Args:
        cache: folder for what frozen networks say, by default `views` in `run`.
        on_work: called with what is computed ahead of training, pictures done and pictures in all.
        on_step: called with epoch, step, steps per epoch and pictures per second.
        on_epoch: called with each finished epoch.
        say: told in a sentence what a person should know of the work: waiting, caches that were removed.
        on_begin: called once the run's folder is made, with the epochs that are done already.

    Returns:
        The path of the best checkpoint.

    Raises:
        UserError: `run` holds another run, the manifest is too small to train on, weights cannot be had, or the run
            has diverged.
    """
    config = for_pictures(config, len(manifest.split("train")))
    check_manifest(manifest)
    folder = RunFolder(run, config, manifest, resume)
    with process_group() as group:
        if config.train.pictures_per_step % group.world:
            raise UserError(f"{group.world} processes cannot share a batch of {config.train.pictures_per_step} evenly.")
        if group.rank == 0:
            folder.create()
        reports = (on_work, say) if group.rank == 0 else (silent_work, silent)
        amp = choose_amp(config.train.amp, group.device)
        context = Context(config, manifest, group, cache or run / "views", amp, *reports)
        learner = make_learner(context, folder.start.model if folder.start else None)
        history: list[EpochLine] = []
        if folder.checkpoint is not None:
            learner.load(folder.checkpoint)
            history = read_history(run / "history.csv", folder.checkpoint.epoch)
        if group.rank == 0:
            on_begin(history)
        _run_epochs(context, learner, folder, history, on_step, on_epoch)
    return folder.best


def _run_epochs(
    context: Context,
    learner: Learner,
    folder: RunFolder,
    history: list[EpochLine],
    on_step: OnStep,
    on_epoch: OnEpoch,
) -> None:
    """The loop: train on each batch of an epoch, validate the averaged weights, save, report."""
    config, group, recipe = context.config, context.group, context.config.train
    task, averaged, scaler, steps = learner.task, learner.averaged, learner.scaler, learner.steps
    network = DistributedDataParallel(learner.student) if group.world > 1 else learner.student
    classes, leads = len(context.manifest.classes), group.rank == 0
    for epoch in range(len(history), recipe.epochs):
        refuse_divergence([row.val_loss for row in history], classes, recipe)
        if gone_stale(history, recipe.patience):
            break
        seed_everything(recipe.seed, epoch, group.rank)
        size = config.input.size if config.model.freeze_backbone else picture_size(recipe, epoch)
        started, total, shown = time.perf_counter(), torch.zeros((), device=group.device), 0
        training_mode(network, task.frozen, config.model.freeze_norms)
        for step, batch in enumerate(task.batches(epoch, size)):
            for parameters in learner.optimizer.param_groups:
                parameters["lr"] = learning_rate(recipe, epoch * steps + step, steps)
            share = mixing_share(recipe, epoch, step)
            loss = loss_of(batch, network, task, recipe, share, group.device, learner.amp)
            learner.optimizer.zero_grad()
            scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
            scaler.step(learner.optimizer)
            scaler.update()
            averaged.update_parameters(task.answering)
            count = len(batch[1])
            total, shown = total + loss.detach() * count, shown + count
            rate = shown * group.world / (time.perf_counter() - started)
            if leads:
                on_step(epoch, step + 1, steps, rate)
        total_loss, total_shown = group.sum([float(total), shown])
        group.spread(averaged.module.buffers())  # norms saw another share of the pictures in each process
        losses = total_loss / total_shown, *validate(averaged.module, task.validation(), group, learner.amp)
        refuse_no_number(losses, epoch)
        history.append(EpochLine(epoch + 1, size, *losses, rate, time.perf_counter() - started))
        if leads:
            folder.save(learner, history)
            on_epoch(history[-1])
            folder.draw(history)
    if leads:
        folder.draw(history, now=True)
    refuse_divergence([row.val_loss for row in history], classes, recipe)


@torch.inference_mode()
def validate(
    model: nn.Module,
    batches: Iterator[tuple[torch.Tensor, torch.Tensor]],
    group: Group,
    amp: torch.dtype | None = None,
) -> tuple[float, float]:
    """Mean loss and accuracy, over all processes' shares."""
    model.eval()
    loss, right, count = 0.0, 0, 0
    for inputs, labels in batches:
        with torch.autocast(group.device.type, dtype=amp or torch.bfloat16, enabled=amp is not None):
            logits = model(inputs.to(group.device)).float().cpu()
        loss += functional.cross_entropy(logits, labels, reduction="sum").item()
        right += int((logits.argmax(1) == labels).sum())
        count += len(labels)
    loss, right_sum, total = group.sum([loss, right, count])
    return loss / total, right_sum / total


def refuse_no_number(losses: tuple[float, float, float], epoch: int) -> None:
    """Refuse to go on with weights that are no numbers; nothing of the epoch is saved."""
    train_loss, val_loss, _ = losses
    if not math.isfinite(train_loss + val_loss):
        raise UserError(
            f"The loss is no longer a number in epoch {epoch + 1}: lower train.learning_rate and start anew."
        )
