"""The training loop, in plain sight.

    catsdogs train --data data --run runs/first                       # training/config.yaml
    catsdogs train --data data --run runs/quick --set train.epochs=2
    catsdogs train --data data --run runs/first --resume              # goes on after a kill

Each epoch ends with a validation of the averaged weights, a line, and a checkpoint: `last.pt` to go on from,
`best.pt` to release.
"""

import csv
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import yaml
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from handler.files import UserError, write_atomic
from handler.preprocess import InputSpec
from training.config import Config, TrainConfig
from training.data import EvalPictures, SeededSampler, TrainPictures, eval_loader, train_loader
from training.manifest import Manifest
from training.model import Checkpoint, build, load_checkpoint, parameter_groups, save_checkpoint
from training.runtime import choose_amp, choose_device, git_sha, seed_everything, versions


@dataclass(frozen=True, slots=True)
class EpochLine:
    """One row of history.csv; losses are mean cross-entropies, rates are pictures per second."""

    epoch: int
    size: int
    train_loss: float
    val_loss: float
    val_accuracy: float
    pictures_per_s: float
    seconds: float


def learning_rate(config: TrainConfig, step: int, steps_per_epoch: int) -> float:
    """Linear over the first epoch, then a cosine to zero at the end of the last."""
    total = config.epochs * steps_per_epoch
    warm_up = min(steps_per_epoch, total // 4)
    if step < warm_up:
        return config.learning_rate * (step + 1) / warm_up
    return config.learning_rate * (1 + math.cos(math.pi * (step - warm_up) / max(1, total - warm_up))) / 2


def picture_size(config: TrainConfig, epoch: int) -> int:
    """Grows evenly from min_size to max_size, in multiples of 16 (the network halves a picture five times)."""
    share = epoch / max(1, config.epochs - 1)
    return round((config.min_size + share * (config.max_size - config.min_size)) / 16) * 16


def make_optimizer(model: nn.Module, config: TrainConfig) -> torch.optim.Optimizer:
    groups = parameter_groups(model, config.weight_decay)
    if config.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=config.learning_rate)
    return torch.optim.SGD(groups, lr=config.learning_rate, momentum=0.9, nesterov=True)


@torch.inference_mode()
def validate(
    model: nn.Module, loader: torch.utils.data.DataLoader[object], device: torch.device
) -> tuple[float, float]:
    """Mean loss and accuracy."""
    model.eval()
    loss, right, count = 0.0, 0, 0
    for pixels, labels in loader:
        logits = model(pixels.to(device)).float().cpu()
        loss += nn.functional.cross_entropy(logits, labels, reduction="sum").item()
        right += int((logits.argmax(1) == labels).sum())
        count += len(labels)
    return loss / count, right / count


def train(
    config: Config,
    manifest: Manifest,
    run: Path,
    resume: bool = False,
    on_step: Callable[[int, int, int, float], None] = lambda epoch, step, steps, rate: None,
    on_epoch: Callable[[EpochLine], None] = lambda line: None,
) -> Path:
    """Trains, and leaves config.yaml, history.csv, last.pt and best.pt in `run`.

    Args:
        on_step: called with epoch, step, steps per epoch and pictures per second.
        on_epoch: called with each finished epoch.

    Returns:
        The path of the best checkpoint.

    Raises:
        UserError: `run` holds another run, or the manifest is too small to train on.
    """
    classes = manifest.classes
    if len(classes) < 2:
        raise UserError(f"A classifier needs two classes; the manifest has {len(classes)}: {', '.join(classes)}.")
    for split in ("train", "val"):
        if not manifest.split(split):
            raise UserError(f"The manifest has no picture in its {split} split: prepare more pictures.")
    last, best = run / "last.pt", run / "best.pt"
    if last.exists() and not resume:
        raise UserError(f"{run} already holds a run. Go on with it by --resume, or choose another --run.")
    checkpoint = load_checkpoint(last) if last.exists() else None
    if checkpoint is not None:
        _same_run(checkpoint, config, manifest)

    commit = git_sha()  # of the code that is loaded, whatever is checked out while it runs
    device = choose_device()
    amp = choose_amp(config.train.amp, device)
    seed_everything(config.train.seed)
    model = build(config.model.arch, len(classes), config.model.weights).to(device)
    mean = get_ema_multi_avg_fn(config.train.ema_decay)  # type: ignore[no-untyped-call]
    averaged = AveragedModel(model, multi_avg_fn=mean, use_buffers=True)
    optimizer = make_optimizer(model, config.train)
    spec = InputSpec(config.input.size, config.input.resize)
    pictures = TrainPictures(manifest.root, manifest.split("train"), classes, config.train.min_area)
    steps = len(pictures.pictures) // config.train.batch_size
    if steps == 0:
        raise UserError(f"{len(pictures.pictures)} pictures do not fill a batch of {config.train.batch_size}.")
    val = eval_loader(EvalPictures(manifest.root, manifest.split("val"), classes, spec), config.train.workers)
    first_epoch, best_accuracy, history = 0, 0.0, list[EpochLine]()
    if checkpoint is not None:
        model.load_state_dict(checkpoint.model)
        averaged.module.load_state_dict(checkpoint.ema)
        averaged.n_averaged.fill_(checkpoint.epoch * steps)
        optimizer.load_state_dict(checkpoint.optimizer)
        first_epoch, best_accuracy = checkpoint.epoch, checkpoint.best_accuracy
        history = _read_history(run / "history.csv", first_epoch)
    run.mkdir(parents=True, exist_ok=True)
    write_atomic(run / "config.yaml", yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False).encode())

    for epoch in range(first_epoch, config.train.epochs):
        size, started, total_loss = picture_size(config.train, epoch), time.perf_counter(), 0.0
        sampler = SeededSampler(len(pictures.pictures), config.train.batch_size, config.train.seed, epoch, size)
        model.train()
        for step, (pixels, labels) in enumerate(train_loader(pictures, sampler, config.train.workers)):
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(config.train, epoch * steps + step, steps)
            with torch.autocast(device.type, dtype=torch.bfloat16, enabled=amp):
                logits = model(pixels.to(device, non_blocking=True))
                loss = nn.functional.cross_entropy(
                    logits, labels.to(device), label_smoothing=config.train.label_smoothing
                )
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            averaged.update_parameters(model)
            total_loss += loss.item()
            rate = (step + 1) * config.train.batch_size / (time.perf_counter() - started)
            on_step(epoch, step + 1, steps, rate)
        val_loss, val_accuracy = validate(averaged.module, val, device)
        line = EpochLine(
            epoch + 1, size, total_loss / steps, val_loss, val_accuracy, rate, time.perf_counter() - started
        )
        history.append(line)
        is_best = val_accuracy > best_accuracy
        best_accuracy = max(best_accuracy, val_accuracy)
        checkpoint = Checkpoint(
            model=model.state_dict(),
            ema=averaged.module.state_dict(),
            optimizer=optimizer.state_dict(),
            epoch=epoch + 1,
            best_accuracy=best_accuracy,
            config=config.model_dump(mode="json"),
            classes=classes,
            manifest_sha256=manifest.sha256,
            git_sha=commit,
            versions=versions(),
        )
        if is_best or not best.exists():
            save_checkpoint(checkpoint, best)
        _write_history(run / "history.csv", history)
        save_checkpoint(checkpoint, last)
        on_epoch(line)
    return best


def _same_run(checkpoint: Checkpoint, config: Config, manifest: Manifest) -> None:
    if checkpoint.manifest_sha256 != manifest.sha256:
        raise UserError("The run was trained on another manifest; a resumed run must go on with the same pictures.")
    if checkpoint.config != config.model_dump(mode="json"):
        raise UserError("The run has another config; leave out --config and --set to go on with its own.")


def _write_history(path: Path, history: list[EpochLine]) -> None:
    header = ",".join(EpochLine.__dataclass_fields__)
    rows = [",".join(f"{value:.6g}" for value in asdict(line).values()) for line in history]
    write_atomic(path, ("\n".join([header, *rows]) + "\n").encode())


def _read_history(path: Path, epochs: int) -> list[EpochLine]:
    with path.open(newline="") as file:
        rows = [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)][:epochs]
    return [EpochLine(**{**row, "epoch": int(row["epoch"]), "size": int(row["size"])}) for row in rows]  # type: ignore[arg-type]
