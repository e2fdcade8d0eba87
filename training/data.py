"""The pictures of a manifest as batches: evaluation by the handler's own transform, training by random crops.

Every training sample is drawn with a seed of its own, made from the run's seed, the epoch and the index alone. So
the batches are the same for any number of workers, and a resumed run continues them.
"""

import hashlib
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset, Sampler

from handler.preprocess import InputSpec, Pixels, decode
from training.config import TrainConfig
from training.decoded import Decoded
from training.manifest import Picture
from training.pictures import open_upright, read_picture

Box = tuple[float, float, float, float]
# uint8 pixels, int64 labels, int64 indices into the split, int64 views
Batch = tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]


class Sample(NamedTuple):
    """One picture of one step; `view` names a fixed crop, or is -1 for a crop drawn by `seed`."""

    position: int
    seed: int
    size: int
    view: int


def random_box(width: int, height: int, min_area: float, rng: np.random.Generator) -> Box:
    """A crop of `min_area` to all of the picture, aspect 3/4 to 4/3: torchvision's RandomResizedCrop."""
    for _ in range(10):
        area = width * height * rng.uniform(min_area, 1)
        aspect = math.exp(rng.uniform(math.log(3 / 4), math.log(4 / 3)))
        w, h = math.sqrt(area * aspect), math.sqrt(area / aspect)
        if w <= width and h <= height:
            break
    else:
        w, h = width, height
    left, top = rng.uniform(0, width - w), rng.uniform(0, height - h)
    return left, top, left + w, top + h


def view_box(picture: Picture, view: int, width: int, height: int, min_area: float) -> Box:
    """The fixed crop `view`: it follows from the picture's content alone, so it can be computed again anywhere."""
    seed = int.from_bytes(hashlib.sha256(f"{picture.sha256} view {view}".encode()).digest()[:8], "little")
    return random_box(width, height, min_area, np.random.default_rng(seed))


def cut(image: Image.Image, box: Box, size: int) -> Image.Image:
    """Crop and scaling in one call, whose filter reads the pixels beyond the box's edge no further than it must."""
    return image.resize((size, size), Image.Resampling.BILINEAR, box=box)


def light(image: Image.Image, strength: float, rng: np.random.Generator) -> Image.Image:
    """Random contrast, brightness and tint, as one table per channel."""
    contrast = math.exp(rng.uniform(-strength, strength))
    shift = 128 * rng.uniform(-strength, strength)
    tints = np.exp(rng.uniform(-strength / 4, strength / 4, (3, 1)))
    table = ((np.arange(256) - 128) * contrast + 128 + shift) * tints
    return image.point(np.clip(table, 0, 255).astype(np.uint8).reshape(-1).tolist())


def erase(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    """A rectangle of 2 to 25 % of the area, aspect 1/3 to 3, made grey."""
    side = len(pixels)
    area, aspect = side * side * rng.uniform(0.02, 0.25), math.exp(rng.uniform(-math.log(3), math.log(3)))
    h, w = (min(side, max(1, round(math.sqrt(area * factor)))) for factor in (aspect, 1 / aspect))
    top, left = int(rng.integers(0, side - h + 1)), int(rng.integers(0, side - w + 1))
    pixels = pixels.copy()
    pixels[top : top + h, left : left + w] = 128
    return pixels


class TrainPictures(Dataset[tuple[Pixels, int, int, int]]):
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

    def __getitem__(self, sample: Sample) -> tuple[Pixels, int, int, int]:
        """uint8 (size, size, 3), label, index, view."""
        index, seed, size, view = sample
        rng, picture, recipe = np.random.default_rng(seed), self.pictures[index], self.recipe
        image = open_upright(self.root, picture) if self.decoded is None else self.decoded[index]
        if view < 0:
            box = random_box(image.width, image.height, recipe.min_area, rng)
        else:
            box = view_box(picture, view, image.width, image.height, recipe.min_area)
        square = cut(image, box, size)
        if recipe.flip and rng.random() < 0.5:
            square = square.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        if recipe.color:
            square = light(square, recipe.color, rng)
        pixels = np.asarray(square)
        if recipe.erasing and rng.random() < recipe.erasing:
            pixels = erase(pixels, rng)
        return pixels, self.labels[index], index, view


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


class SeededSampler(Sampler[list[Sample]]):
    """One epoch's batches in random order; the last incomplete batch is left out.

    Args:
        views: fixed crops per picture; each epoch takes the next one of each picture. 0 means crops drawn anew.
        rank, world: this process takes every `world`-th picture of each batch, from `rank` on.
    """

    def __init__(
        self,
        count: int,
        batch_size: int,
        seed: int,
        epoch: int,
        size: int,
        views: int = 0,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        rng = np.random.default_rng([seed, epoch])
        self.order = rng.permutation(count)
        self.seeds = rng.integers(0, 2**63, count)
        first = np.random.default_rng([seed]).integers(0, max(1, views), count)
        self.views = (first + epoch) % views if views else np.full(count, -1)
        self.batch_size, self.size, self.rank, self.world = batch_size, size, rank, world

    def __len__(self) -> int:
        return len(self.order) // self.batch_size

    def __iter__(self) -> Iterator[list[Sample]]:
        for start in range(0, len(self) * self.batch_size, self.batch_size):
            chosen = self.order[start : start + self.batch_size][self.rank :: self.world]
            yield [Sample(int(i), int(self.seeds[i]), self.size, int(self.views[i])) for i in chosen]


def collate(rows: list[tuple[Pixels, int, int, int]]) -> Batch:
    """uint8 (n, size, size, 3), and int64 (n,) for labels, indices and views."""
    pixels, *columns = zip(*rows, strict=True)
    labels, indices, views = (torch.tensor(column) for column in columns)
    return torch.from_numpy(np.stack(pixels)), labels, indices, views


def collate_eval(rows: list[tuple[Pixels, int]]) -> tuple[torch.Tensor, torch.Tensor]:
    """uint8 (n, size, size, 3) and int64 (n,)."""
    return torch.from_numpy(np.stack([pixels for pixels, _ in rows])), torch.tensor([label for _, label in rows])


def train_loader(
    pictures: TrainPictures, sampler: SeededSampler, workers: int
) -> DataLoader[tuple[Pixels, int, int, int]]:
    return DataLoader(
        pictures,
        batch_sampler=sampler,
        num_workers=workers,
        collate_fn=collate,
        pin_memory=torch.cuda.is_available(),
        prefetch_factor=4 if workers else None,
    )


def eval_loader(pictures: EvalPictures, workers: int, batch_size: int = 64) -> DataLoader[tuple[Pixels, int]]:
    return DataLoader(pictures, batch_size=batch_size, num_workers=workers, collate_fn=collate_eval)
