"""The pictures of a manifest as batches: evaluation by the handler's own transform, training by random crops.

Every training sample is drawn with a seed of its own, `(index, seed, size)`, made from the run's seed, the epoch
and the index alone. So the batches are the same for any number of workers, and a resumed run continues them.
"""

import io
import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset, Sampler

from handler.preprocess import InputSpec, Pixels, decode, upright
from training.manifest import Picture

Sample = tuple[int, int, int]
Batch = tuple[torch.Tensor, torch.Tensor]


def read_picture(root: Path, picture: Picture) -> bytes:
    return (root / picture.path).read_bytes()


def augment(data: bytes, size: int, min_area: float, rng: np.random.Generator) -> Pixels:
    """A random crop of `min_area` to all of the picture, aspect 3/4 to 4/3, flipped half of the time, light changed.

    The crop is the rule of torchvision's RandomResizedCrop; crop and scaling are one call.

    Returns:
        uint8 array of shape (size, size, 3).
    """
    image = upright(Image.open(io.BytesIO(data)))
    width, height = image.size
    for _ in range(10):
        area = width * height * rng.uniform(min_area, 1)
        aspect = math.exp(rng.uniform(math.log(3 / 4), math.log(4 / 3)))
        w, h = math.sqrt(area * aspect), math.sqrt(area / aspect)
        if w <= width and h <= height:
            break
    else:
        w, h = width, height
    left, top = rng.uniform(0, width - w), rng.uniform(0, height - h)
    square = image.resize((size, size), Image.Resampling.BILINEAR, box=(left, top, left + w, top + h))
    if rng.random() < 0.5:
        square = square.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    contrast, brightness = rng.uniform(0.8, 1.25), rng.uniform(-25, 25)
    table = np.clip((np.arange(256) - 128) * contrast + 128 + brightness, 0, 255).astype(np.uint8)
    lit: Pixels = table[np.asarray(square)]
    return lit


class TrainPictures(Dataset[tuple[Pixels, int]]):
    """Augmented pictures, addressed by (index, seed, size)."""

    def __init__(self, root: Path, pictures: Sequence[Picture], classes: Sequence[str], min_area: float) -> None:
        self.root = root
        self.pictures = pictures
        self.labels = [classes.index(picture.label) for picture in pictures]
        self.min_area = min_area

    def __getitem__(self, sample: Sample) -> tuple[Pixels, int]:
        index, seed, size = sample
        data = read_picture(self.root, self.pictures[index])
        return augment(data, size, self.min_area, np.random.default_rng(seed)), self.labels[index]


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
    """One epoch's batches in random order; the last incomplete batch is left out."""

    def __init__(self, count: int, batch_size: int, seed: int, epoch: int, size: int) -> None:
        rng = np.random.default_rng([seed, epoch])
        self.order = rng.permutation(count)
        self.seeds = rng.integers(0, 2**63, count)
        self.batch_size = batch_size
        self.size = size

    def __len__(self) -> int:
        return len(self.order) // self.batch_size

    def __iter__(self) -> Iterator[list[Sample]]:
        for start in range(0, len(self) * self.batch_size, self.batch_size):
            chosen = self.order[start : start + self.batch_size]
            yield [(int(index), int(self.seeds[index]), self.size) for index in chosen]


def collate(rows: list[tuple[Pixels, int]]) -> Batch:
    """uint8 (n, size, size, 3) and int64 (n,)."""
    return torch.from_numpy(np.stack([pixels for pixels, _ in rows])), torch.tensor([label for _, label in rows])


def train_loader(pictures: TrainPictures, sampler: SeededSampler, workers: int) -> DataLoader[tuple[Pixels, int]]:
    return DataLoader(pictures, batch_sampler=sampler, num_workers=workers, collate_fn=collate)


def eval_loader(pictures: EvalPictures, workers: int, batch_size: int = 64) -> DataLoader[tuple[Pixels, int]]:
    return DataLoader(pictures, batch_size=batch_size, num_workers=workers, collate_fn=collate)
