"""The pictures of a manifest as batches: evaluation by the handler's own transform, training by random crops.

Which pictures a step sees, and with what seeds, is training/data/sampler.py's.
"""

import hashlib
import math
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional
from torch.utils.data import Dataset

from handler.preprocess import InputSpec, Pixels, decode
from training.config import TrainConfig
from training.data.decoded import Decoded
from training.data.degrade import degrade
from training.data.manifest import Picture
from training.data.pictures import open_upright, read_picture
from training.data.sampler import Sample, SeededSampler
from training.data.workers import load

Box = tuple[int, int, int, int]  # left, top, right, bottom
# uint8 pixels, int64 labels, int64 indices into the split, int64 views
Batch = tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]


# Pictures that are lit at once: their floats fit into a core's cache.
PIECE = 8
LOG_ASPECT = (math.log(3 / 4), math.log(4 / 3))


def random_box(width: int, height: int, min_area: float, rng: random.Random) -> Box:
    """A crop of `min_area` to all of the picture, aspect 3/4 to 4/3, as torchvision's RandomResizedCrop."""
    for _ in range(10):
        area = width * height * rng.uniform(min_area, 1)
        aspect = math.exp(rng.uniform(*LOG_ASPECT))
        w, h = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < w <= width and 0 < h <= height:
            break
    else:
        w, h = width, height
    left, top = rng.randint(0, width - w), rng.randint(0, height - h)
    return left, top, left + w, top + h


def view_box(picture: Picture, view: int, width: int, height: int, min_area: float) -> Box:
    """The fixed crop `view`: it follows from the picture's content alone, so it can be computed again anywhere."""
    seed = int.from_bytes(hashlib.sha256(f"{picture.sha256} view {view}".encode()).digest()[:8], "little")
    return random_box(width, height, min_area, random.Random(seed))


def cut(pixels: Pixels, box: Box, size: int, mirrored: bool = False) -> Pixels:
    """Crop and scaling with a filter as wide as the scale, as Pillow's, within 1/255 of it on average.

    With torch's kernel for bytes (from pillow-simd) a whole batch takes a third of the time that it takes with Pillow.
    """
    left, top, right, bottom = box
    crop = torch.from_numpy(pixels[None, top:bottom, left:right].copy()).permute(0, 3, 1, 2)
    scaled = functional.interpolate(crop, (size, size), mode="bilinear", antialias=True)
    return (scaled.flip(3) if mirrored else scaled)[0].permute(1, 2, 0).numpy()


def light(pixels: Pixels, strength: float, rngs: Sequence[random.Random]) -> None:
    """Random contrast, brightness and tint of each of uint8 (n, height, width, 3): one line per channel, in place."""
    lines = []
    for rng in rngs:
        contrast = math.exp(rng.uniform(-strength, strength))
        shift = 128 * rng.uniform(-strength, strength)
        tints = [math.exp(rng.uniform(-strength / 4, strength / 4)) for _ in range(3)]
        lines.append([(tint * contrast, tint * (128 - 128 * contrast + shift) + 0.5) for tint in tints])
    factors, offsets = np.moveaxis(np.array(lines, dtype=np.float32), 2, 0)
    count, height, width, _ = pixels.shape
    rows = pixels.reshape(count, height, width * 3)  # NumPy is slow where its inner loop has three values
    for start in range(0, count, PIECE):
        piece = slice(start, start + PIECE)
        values = rows[piece].astype(np.float32)
        values *= np.tile(factors[piece], width)[:, None]
        values += np.tile(offsets[piece], width)[:, None]
        np.clip(values, 0, 255, out=values)
        rows[piece] = values


def erase(pixels: Pixels, rng: random.Random) -> None:
    """A rectangle of 2 to 25 % of the area of uint8 (size, size, 3), aspect 1/3 to 3, made grey, in place."""
    side = len(pixels)
    area, aspect = side * side * rng.uniform(0.02, 0.25), math.exp(rng.uniform(-math.log(3), math.log(3)))
    h, w = (min(side, max(1, round(math.sqrt(area * factor)))) for factor in (aspect, 1 / aspect))
    top, left = rng.randint(0, side - h), rng.randint(0, side - w)
    pixels[top : top + h, left : left + w] = 128


class TrainPictures(Dataset[Batch]):
    """Augmented pictures, addressed by `Sample`, from their files or, where given, decoded before."""

    def __init__(
        self,
        root: Path,
        pictures: Sequence[Picture],
        classes: Sequence[str],
        recipe: TrainConfig,
        decoded: Decoded | None = None,
    ) -> None:
        self.root = root
        self.decoded = decoded
        self.pictures = pictures
        self.labels = [classes.index(picture.label) for picture in pictures]
        self.recipe = recipe

    def _whole(self, position: int) -> Pixels:
        if self.decoded is None:
            return np.asarray(open_upright(self.root, self.pictures[position]))
        return self.decoded[position]

    def __getitems__(self, samples: Sequence[Sample]) -> Batch:
        """A whole batch of one size, since light costs less for many pictures than for each."""
        recipe, size = self.recipe, samples[0].size
        rngs = [random.Random(sample.seed) for sample in samples]
        pixels = np.empty((len(samples), size, size, 3), dtype=np.uint8)
        for square, sample, rng in zip(pixels, samples, rngs, strict=True):
            picture, whole = self.pictures[sample.position], self._whole(sample.position)
            height, width, _ = whole.shape
            if sample.view < 0:
                box = random_box(width, height, recipe.min_area, rng)
            else:
                box = view_box(picture, sample.view, width, height, recipe.min_area)
            mirrored = recipe.flip and rng.random() < 0.5
            square[:] = cut(whole, box, size, mirrored)
        if recipe.color:
            light(pixels, recipe.color, rngs)
        for square, rng in zip(pixels, rngs, strict=True):
            if recipe.erasing and rng.random() < recipe.erasing:
                erase(square, rng)
            if recipe.degraded and rng.random() < recipe.degraded:
                square[:] = degrade(square, rng)
        positions = [sample.position for sample in samples]
        labels, views = [self.labels[position] for position in positions], [sample.view for sample in samples]
        return torch.from_numpy(pixels), torch.tensor(labels), torch.tensor(positions), torch.tensor(views)


class EvalPictures(Dataset[tuple[Pixels, int]]):
    """Pictures as the server sees them."""

    def __init__(self, root: Path, pictures: Sequence[Picture], classes: Sequence[str], spec: InputSpec) -> None:
        self.root = root
        self.pictures = pictures
        self.labels = [classes.index(picture.label) for picture in pictures]
        self.spec = spec

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, index: int) -> tuple[Pixels, int]:
        return decode(read_picture(self.root, self.pictures[index]), self.spec), self.labels[index]


def as_it_is(batch: Any) -> Any:
    return batch


def collate_eval(rows: list[tuple[Pixels, int]]) -> tuple[torch.Tensor, torch.Tensor]:
    """uint8 (n, size, size, 3) and int64 (n,)."""
    return torch.from_numpy(np.stack([pixels for pixels, _ in rows])), torch.tensor([label for _, label in rows])


def train_loader(pictures: TrainPictures, sampler: SeededSampler, workers: int) -> Iterator[Batch]:
    """Batches made ahead by `workers` processes, which on a CPU take only what the step leaves."""
    gpu = torch.cuda.is_available()
    return load(pictures, as_it_is, workers, sampler=sampler, prefetch=4, pin_memory=gpu, step_aside=not gpu)


def eval_loader(
    pictures: EvalPictures, workers: int, batch_size: int = 64
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    return load(pictures, collate_eval, workers, batch_size=batch_size)
