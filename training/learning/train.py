"""The training loop, in plain sight.

    catsdogs train --data data --run runs/first                       # training/config.yaml
    catsdogs train --data data --run runs/quick --set train.epochs=2
    catsdogs train --data data --run runs/first --resume              # goes on after a kill
    torchrun --nproc-per-node 2 -m -- catsdogs train --data data --run runs/first    # `--`: torchrun has a --run too

Each epoch ends with a validation of the averaged weights, a line, and a checkpoint: `last.pt` to go on from,
`best.pt` to release.
"""

import csv
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from pydantic import ValidationError
from torch import nn
from torch.nn import functional
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel

from handler.files import UserError, write_atomic
from training.config import Config, TrainConfig
from training.data.loaders import Batch
from training.data.manifest import Manifest
from training.data.sampler import step_count
from training.evaluation.report import draw_curves
from training.learning.batch import for_pictures
from training.learning.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from training.learning.divergence import refuse_divergence
from training.learning.model import State, parameter_groups
from training.learning.resume import again_from
from training.learning.runtime import Group, choose_amp, git_sha, process_group, seed_everything, versions
from training.learning.small_maps import use_products
from training.learning.start import pictures_of_run, read_start
from training.learning.task import Task, make_task, silent

# A head's epoch takes milliseconds, a drawing half a second.
CURVES_S = 10


@dataclass(frozen=True, slots=True)
class EpochLine:
    """One row of history.csv; losses are means per picture, rates are pictures per second."""

    epoch: int
    size: int
    train_loss: float
    val_loss: float
    val_accuracy: float
    pictures_per_s: float
    seconds: float


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


def train(
    config: Config,
    manifest: Manifest,
    run: Path,
    resume: bool = False,
    cache: Path | None = None,
    on_work: Callable[[str, int, int], None] = lambda what, done, total: None,
    on_step: Callable[[int, int, int, float], None] = lambda epoch, step, steps, rate: None,
    on_epoch: Callable[[EpochLine], None] = lambda line: None,
    say: Callable[[str], None] = lambda sentence: None,
) -> Path:
    """Trains, and leaves config.yaml, history.csv, curves.png, last.pt and best.pt in `run`.

    Started by torchrun, each process trains on its share of every batch; the first one alone writes and reports.

    Args:
        cache: folder for what frozen networks say, by default `views` in `run`.
        on_work: called with what is computed ahead of training, pictures done and pictures in all.
        on_step: called with epoch, step, steps per epoch and pictures per second.
        on_epoch: called with each finished epoch.
        say: told in a sentence what a person should know of the work: waiting, caches that were removed.

    Returns:
        The path of the best checkpoint.

    Raises:
        UserError: `run` holds another run, the manifest is too small to train on, weights cannot be had, or the run
            has diverged.
    """
    last, best = run / "last.pt", run / "best.pt"
    if last.exists() and not resume:
        raise UserError(f"{run} already holds a run. Go on with it by --resume, or choose another --run.")
    config = for_pictures(config, len(manifest.split("train")))
    check_manifest(config, manifest)
    checkpoint = load_checkpoint(last) if last.exists() else None
    if checkpoint is not None:
        _same_run(checkpoint, config, manifest, run)
    values = config.model_dump(mode="json")
    start = read_start(config.model.weights, manifest)
    trained_on = pictures_of_run(config, manifest, start)
    commit = git_sha()  # of the code that is loaded, whatever is checked out while it runs
    recipe, batch_size = config.train, config.train.pictures_per_step
    with process_group() as group:
        leads, device = group.rank == 0, group.device
        if batch_size % group.world:
            raise UserError(f"{group.world} processes cannot share a batch of {batch_size} evenly.")
        if leads:
            run.mkdir(parents=True, exist_ok=True)
            write_atomic(run / "config.yaml", yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False).encode())
        amp = choose_amp(recipe.amp, device)
        seed_everything(recipe.seed)
        told = (on_work, say) if leads else (_silent, silent)
        task = make_task(config, manifest, group, cache or run / "views", amp, *told)
        student = task.student.to(device)
        if start is not None and start.model is not None:
            # Its averaged weights are in the classifier; what was learnt of a teacher comes along where it fits.
            student.load_state_dict(like(start.model, student, "second."), strict=False)
        if amp is torch.bfloat16 and device.type == "cpu":
            use_products(student)
        if config.model.freeze_backbone:
            amp = None  # half a last layer saves nothing
        averaged = AveragedModel(task.answering, multi_avg_fn=running_mean(recipe.ema_decay), use_buffers=True)
        optimizer = make_optimizer(student, recipe)
        scaler = torch.amp.GradScaler(device.type, enabled=amp is torch.float16)
        steps = step_count(task.count, batch_size, group.world)
        first_epoch, history = 0, list[EpochLine]()
        if checkpoint is not None:
            student.load_state_dict(checkpoint.model)
            averaged.module.load_state_dict(task.averaged(checkpoint.ema))
            averaged.n_averaged.fill_(checkpoint.epoch * steps)
            optimizer.load_state_dict(checkpoint.optimizer)
            scaler.load_state_dict(checkpoint.scaler or {})
            first_epoch = checkpoint.epoch
            history = _read_history(run / "history.csv", first_epoch)
        network = DistributedDataParallel(student) if group.world > 1 else student

        drawn = 0.0
        for epoch in range(first_epoch, recipe.epochs):
            refuse_divergence([row.val_loss for row in history], len(manifest.classes), recipe)
            if gone_stale(history, recipe.patience):
                break
            seed_everything(recipe.seed, epoch, group.rank)
            size = config.input.size if config.model.freeze_backbone else picture_size(recipe, epoch)
            started, total, shown = time.perf_counter(), torch.zeros((), device=device), 0
            network.train()
            if config.model.freeze_norms:
                freeze_norms(network)
            for step, batch in enumerate(task.batches(epoch, size)):
                for parameters in optimizer.param_groups:
                    parameters["lr"] = learning_rate(recipe, epoch * steps + step, steps)
                share = 1.0
                if recipe.mixup:
                    share = float(np.random.default_rng([recipe.seed, epoch, step]).beta(recipe.mixup, recipe.mixup))
                loss = loss_of(batch, network, task, recipe, share, device, amp)
                optimizer.zero_grad()
                scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
                scaler.step(optimizer)
                scaler.update()
                averaged.update_parameters(task.answering)
                count = len(batch[1])
                total, shown = total + loss.detach() * count, shown + count
                rate = shown * group.world / (time.perf_counter() - started)
                if leads:
                    on_step(epoch, step + 1, steps, rate)
            total_loss, total_shown = group.sum([float(total), shown])
            train_loss = total_loss / total_shown
            group.spread(averaged.module.buffers())  # norms saw another share of the pictures in each process
            val_loss, val_accuracy = validate(averaged.module, task.validation(), group, amp)
            if not math.isfinite(train_loss + val_loss):
                raise UserError(
                    f"The loss is no longer a number in epoch {epoch + 1}: lower train.learning_rate and start anew."
                )
            is_best = val_accuracy > max((row.val_accuracy for row in history), default=-1.0)
            seconds = time.perf_counter() - started
            history.append(EpochLine(epoch + 1, size, train_loss, val_loss, val_accuracy, rate, seconds))
            if not leads:
                continue
            checkpoint = Checkpoint(
                model=student.state_dict(),
                ema=task.released(averaged.module.state_dict()),
                optimizer=optimizer.state_dict(),
                epoch=epoch + 1,
                config=values,
                classes=manifest.classes,
                manifest_sha256=manifest.sha256,
                git_sha=commit,
                versions=versions(),
                scaler=scaler.state_dict(),
                teacher=task.teacher,
                start=start.facts if start else None,
                names=manifest.names,
                trained_on=trained_on,
            )
            if is_best or not best.exists():
                save_checkpoint(checkpoint, best)
            _write_history(run / "history.csv", history)
            save_checkpoint(checkpoint, last)
            on_epoch(history[-1])
            if time.perf_counter() - drawn > CURVES_S:
                draw_curves([asdict(row) for row in history], run / "curves.png")
                drawn = time.perf_counter()
        if leads:
            draw_curves([asdict(row) for row in history], run / "curves.png")
        refuse_divergence([row.val_loss for row in history], len(manifest.classes), recipe)
    return best


def like(state: State, module: nn.Module, prefix: str) -> State:
    """The tensors of a state whose names begin so and that have the shape of the module's own."""
    own = module.state_dict()
    return {
        name: tensor
        for name, tensor in state.items()
        if name.startswith(prefix) and name in own and own[name].shape == tensor.shape
    }


def _silent(what: str, done: int, total: int) -> None:
    pass


def gone_stale(history: list[EpochLine], patience: int) -> bool:
    """Whether the best validation accuracy is `patience` epochs old."""
    if not history or not patience:
        return False
    best = max(history, key=lambda row: (row.val_accuracy, -row.epoch))
    return history[-1].epoch - best.epoch >= patience


def freeze_norms(model: nn.Module) -> None:
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.eval()


def check_manifest(config: Config, manifest: Manifest) -> None:
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


def _same_run(checkpoint: Checkpoint, config: Config, manifest: Manifest, run: Path) -> None:
    if checkpoint.manifest_sha256 != manifest.sha256:
        raise UserError(
            "The run was trained on another manifest; a resumed run must go on with the same pictures. "
            f"{again_from(checkpoint.config, manifest.folder, run)}"
        )
    if not same_config(checkpoint.config, config):
        raise UserError("The run has another config; leave out --config and --set to go on with its own.")


def same_config(values: dict[str, Any], config: Config) -> bool:
    """Whether a checkpoint's config is this one, with defaults for the keys that its version did not have."""
    try:
        return Config.model_validate(values) == config
    except ValidationError:
        return False


def _write_history(path: Path, history: list[EpochLine]) -> None:
    rows = [",".join(repr(value) for value in asdict(line).values()) for line in history]
    write_atomic(path, ("\n".join([",".join(EpochLine.__dataclass_fields__), *rows]) + "\n").encode())


def _read_history(path: Path, epochs: int) -> list[EpochLine]:
    try:
        with path.open(newline="") as file:
            rows = [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)][:epochs]
        lines = [EpochLine(**{**row, "epoch": int(row["epoch"]), "size": int(row["size"])}) for row in rows]  # type: ignore[arg-type]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise UserError(f"{path} is missing or broken, and the run cannot go on without it.") from error
    if len(lines) < epochs:
        raise UserError(f"{path} ends before the checkpoint does, and the run cannot go on without it.")
    return lines
