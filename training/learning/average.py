"""The mean of the weights of several models, as a checkpoint ("model soup", Wortsman et al., arXiv 2203.05482).

Models that were fine-tuned from the same weights make different mistakes, and the mean of their weights can make
fewer than each, at the cost of one network. Of models that were trained apart the mean is no model at all.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import yaml

from handler.files import UserError, write_atomic
from training.data import trained_on as records
from training.data.manifest import Manifest
from training.learning.checkpoint import Checkpoint, save_checkpoint
from training.learning.model import Classifier, build
from training.learning.runtime import git_sha, versions
from training.learning.start import Start, read_start
from training.learning.weights import read_weights

SECOND = "second."
"""Prefix of the layer that learns a teacher's classes: it is of no use in the mean, and the last model's is kept."""


def source_of(path: Path) -> Path:
    """Return what `model.weights` would name: of a run's folder its best checkpoint."""
    return path / "best.pt" if (path / "best.pt").exists() else path


def open_member(path: Path, manifest: Manifest) -> tuple[Start, Classifier]:
    """Return what a checkpoint or release says of itself, and its network as it was trained.

    Raises:
        UserError: it is none, or another network or other classes than it says, or it was trained on pictures that are
            tested or validated on now, or nobody knows on which.
    """
    start = read_start(str(path), manifest)
    if start is None:
        read_weights(path)  # which says what is wrong with it, where something is
        raise UserError(f"{path} is neither a checkpoint nor a release: nothing says which network its weights are of.")
    if start.trained_on is None:
        raise UserError(f"Nobody knows on which pictures {path} was trained, so their mean could not be judged.")
    classes = read_weights(path).classes or []
    if classes != manifest.classes:
        raise UserError(f"{path} tells {', '.join(classes)} apart, and the manifest has {', '.join(manifest.classes)}.")
    return start, build(start.facts["config"]["model"]["arch"], len(classes), path, None, classes).eval()


def average(paths: Sequence[Path], manifest: Manifest) -> tuple[Checkpoint, list[Classifier]]:
    """Return a checkpoint of the mean, and the networks that it is the mean of.

    Args:
        paths: checkpoints' files and releases' folders, two or more. The last one's config, teacher and start become
            the mean's.

    Raises:
        UserError: there are fewer than two, they are of different networks, or as `open_member`.
    """
    if len(paths) < 2:
        raise UserError("A mean takes two models or more: name checkpoints, runs or releases.")
    members = [open_member(path, manifest) for path in paths]
    archs = [start.facts["config"]["model"]["arch"] for start, _ in members]
    for path, arch in zip(paths, archs, strict=True):
        if arch != archs[0]:
            raise UserError(f"{path} is a {arch} and {paths[0]} a {archs[0]}: only weights of one network have a mean.")
    states = [network.state_dict() for _, network in members]
    last, starts = members[-1][0], [start for start, _ in members]
    checkpoint = Checkpoint(
        model={name: tensor for name, tensor in (last.model or {}).items() if name.startswith(SECOND)},
        ema={name: _mean([state[name] for state in states]) for name in states[0]},
        optimizer={},
        epoch=last.facts["epochs"],
        config=last.facts["config"],
        classes=manifest.classes,
        manifest_sha256=last.facts["manifest_sha256"],
        git_sha=git_sha(),
        versions=versions(),
        teacher=last.facts["teacher"],
        start=last.facts["start"],
        names=manifest.names,
        trained_on=records.union(*(start.trained_on for start in starts if start.trained_on is not None)),
        averaged=[_facts(start.facts) for start in starts],
    )
    return checkpoint, [network for _, network in members]


def _mean(tensors: Sequence[torch.Tensor]) -> torch.Tensor:
    """Return the mean in fp32; of counters, which norms keep of their steps, the last."""
    if not tensors[-1].is_floating_point():
        return tensors[-1]
    return torch.stack([tensor.float() for tensor in tensors]).mean(0)


def _facts(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return what tells a model from others; its line of starts is known by its hash."""
    return {name: facts[name] for name in ("name", "version", "sha256", "epochs", "git_sha") if facts.get(name)}


def refuse_folder(run: Path) -> None:
    """Refuse to write where something is."""
    if run.exists() and (not run.is_dir() or any(run.iterdir())):
        raise UserError(f"{run} is already there. Choose another --run.")


def write(mean: Checkpoint, run: Path) -> None:
    """Write the config and the checkpoint of a mean into the folder of a run."""
    run.mkdir(parents=True, exist_ok=True)
    write_atomic(run / "config.yaml", yaml.safe_dump(mean.config, sort_keys=False).encode())
    save_checkpoint(mean, run / "best.pt")
