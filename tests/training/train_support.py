"""Manifests of small drawn pictures without `prepare`, small configs, and what a run left behind."""

import csv
import dataclasses
import hashlib
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from training import config as configs
from training.config import Config
from training.data import manifest as manifests
from training.data.manifest import Manifest, Picture, Prepared
from training.learning.checkpoint import load_checkpoint

TINTS = {"cat": (1.0, 0.5, 0.4), "dog": (0.4, 0.5, 1.0), "fox": (0.5, 1.0, 0.4)}
# Milliseconds per epoch.
TINY = (
    "model.arch=baseline",
    "model.weights=null",
    "train.epochs=3",
    "train.batch_size=4",
    "train.min_size=32",
    "train.max_size=32",
    "train.learning_rate=0.01",
    "train.ema_decay=0.5",
    "train.amp=off",
    "train.decoded_side=0",
    "train.workers=0",
    "views.count=2",
    "distill.teacher_size=32",
    "input.size=32",
)
# A machine with one processor is warned about two workers.
FEW_CORES = "ignore:This DataLoader will create:UserWarning"


def tiny(*overrides: str) -> Config:
    return configs.load(overrides=[*TINY, *overrides])


def draw(label: str, seed: int, size: tuple[int, int] = (40, 36)) -> Image.Image:
    """Smooth random light in the colour of its class."""
    coarse = np.random.default_rng(seed).uniform(30, 255, (6, 6)).astype(np.uint8)
    light = np.asarray(Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC), dtype=np.float32)
    return Image.fromarray((light[..., None] * np.array(TINTS[label], dtype=np.float32)).astype(np.uint8))


def draw_manifest(folder: Path, counts: Mapping[str, int], classes: Sequence[str] = ("cat", "dog")) -> Manifest:
    """Pictures in folder/pictures, so many of each class for each split, and their manifest in folder/data."""
    pictures = []
    for label in classes:
        (folder / "pictures" / label).mkdir(parents=True, exist_ok=True)
        for split, count in counts.items():
            for number in range(count):
                path = Path(label, f"{split}-{number}.png")
                image = draw(label, int.from_bytes(hashlib.sha256(str(path).encode()).digest()[:4]))
                image.save(folder / "pictures" / path)
                digest = hashlib.sha256((folder / "pictures" / path).read_bytes()).hexdigest()
                pictures.append(Picture(path.as_posix(), label, split, digest, digest[:16], *image.size))
    pictures.sort(key=lambda picture: picture.path)
    manifests.write(Prepared(folder / "pictures", pictures, []), folder / "data")
    return manifests.read(folder / "data")


def only(manifest: Manifest, splits: Mapping[str, int | None]) -> Manifest:
    """The first pictures of each class in each split named."""
    kept = [
        picture
        for split, count in splits.items()
        for label in manifest.classes
        for picture in [p for p in manifest.split(split) if p.label == label][:count]
    ]
    return dataclasses.replace(manifest, pictures=sorted(kept, key=lambda picture: picture.path))


def changed(config: Config, **values: object) -> Config:
    return config.model_copy(update={"train": config.train.model_copy(update=values)})


def history(run: Path) -> list[dict[str, float]]:
    with (run / "history.csv").open(newline="") as file:
        return [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]


def weights(run: Path, name: str = "last.pt") -> dict[str, torch.Tensor]:
    """Every tensor of a checkpoint, those of the optimizer included."""
    checkpoint = load_checkpoint(run / name)
    tensors = {f"{kind}/{key}": t for kind in ("model", "ema") for key, t in getattr(checkpoint, kind).items()}
    for index, values in checkpoint.optimizer["state"].items():
        tensors |= {f"optimizer/{index}/{key}": t for key, t in values.items() if isinstance(t, torch.Tensor)}
    return tensors


def assert_equal_weights(ours: Path, others: Path, name: str = "last.pt") -> None:
    """Bit for bit."""
    first, second = weights(ours, name), weights(others, name)
    assert first.keys() == second.keys()
    assert [key for key in first if not torch.equal(first[key], second[key])] == []


def equal(ours: Mapping[str, torch.Tensor], others: Mapping[str, torch.Tensor]) -> bool:
    return ours.keys() == others.keys() and all(torch.equal(ours[name], others[name]) for name in ours)


class Escape:
    """Unpickling it runs code, which leaves a file."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return Path.touch, (self.target,)


def settings(overrides: Sequence[str]) -> list[str]:
    return [word for override in overrides for word in ("--set", override)]


def command(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """`python ARGUMENTS` as a process of its own, with COLUMNS wide enough that no line is broken."""
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        capture_output=True,
        text=True,
        env={**os.environ, "COLUMNS": "300", **environment},
        cwd=Path(__file__).parents[2],
        timeout=300,
    )
