"""The pictures of the train split, decoded once: each epoch crops from raw pixels and reads no JPEG again.

Decoding costs half of what a training sample costs. Larger pictures are kept scaled down, since no crop of them is
ever shown larger than the network's input.
"""

import hashlib
import io
import itertools
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from handler.files import write_atomic
from handler.preprocess import Pixels
from training.data.manifest import Picture
from training.data.pictures import open_upright


def shrink(image: Image.Image, side: int) -> Image.Image:
    """Down to a shorter side of `side` pixels; smaller pictures stay as they are."""
    scale = side / min(image.size)
    if scale >= 1:
        return image
    return image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.BOX)


class _Pictures(Dataset[Pixels]):
    def __init__(self, root: Path, pictures: Sequence[Picture], side: int) -> None:
        self.root, self.pictures, self.side = root, pictures, side

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, index: int) -> Pixels:
        return np.asarray(shrink(open_upright(self.root, self.pictures[index]), self.side))


def _as_they_are(pictures: list[Pixels]) -> list[Pixels]:
    return pictures


class Decoded:
    """Raw pixels by position in the split, read from a file that all processes share.

    Args:
        folder: of `build`.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.index: npt.NDArray[np.int64] = np.load(folder / "index.npy")
        self._pixels: Pixels | None = None

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_pixels": None}  # a process that is spawned maps the file itself

    def __getitem__(self, position: int) -> Pixels:
        """uint8 (height, width, 3), read-only."""
        if self._pixels is None:
            self._pixels = np.asarray(np.memmap(self.folder / "pixels.u8", dtype=np.uint8, mode="r"))
        start, height, width = self.index[position]
        return self._pixels[start : start + height * width * 3].reshape(height, width, 3)


def build(
    cache: Path,
    root: Path,
    pictures: Sequence[Picture],
    side: int,
    workers: int = 0,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Path:
    """Decodes all of `pictures`, unless it was done before.

    Returns:
        The folder for `Decoded`: pixels.u8, and index.npy with an int64 row (start, height, width) per picture.
    """
    name = hashlib.sha256(f"{side} {' '.join(picture.sha256 for picture in pictures)}".encode()).hexdigest()[:16]
    folder = cache / f"decoded-{name}"
    if _whole(folder):
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    rows, start = [], 0
    # A generator of its own, so that no random number of the run is used up.
    loader = DataLoader(
        _Pictures(root, pictures, side),
        batch_size=32,
        num_workers=workers,
        collate_fn=_as_they_are,
        generator=torch.Generator(),
    )
    with (folder / "pixels.u8").open("wb") as file:
        for pixels in itertools.chain.from_iterable(loader):
            file.write(pixels.tobytes())
            rows.append((start, *pixels.shape[:2]))
            start += pixels.size
            progress(len(rows), len(pictures))
    buffer = io.BytesIO()
    np.save(buffer, np.array(rows, dtype=np.int64))
    write_atomic(folder / "index.npy", buffer.getvalue())  # last: without it there is nothing
    return folder


def _whole(folder: Path) -> bool:
    """Whether all pixels are there that the index speaks of."""
    try:
        start, height, width = np.load(folder / "index.npy", allow_pickle=False)[-1]
        return (folder / "pixels.u8").stat().st_size == int(start + height * width * 3)
    except (OSError, ValueError, EOFError, IndexError):
        return False
