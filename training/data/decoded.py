"""The pictures of the train split, decoded once: each epoch crops from raw pixels and reads no JPEG again.

Decoding costs half of what a training sample costs. Larger pictures are kept scaled down, since no crop of them is
ever shown larger than the network's input.
"""

import hashlib
import io
import itertools
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image
from torch.utils.data import Dataset

from handler.files import replacing, write_atomic
from handler.preprocess import Pixels
from training.data.manifest import Picture
from training.data.pictures import open_upright
from training.data.workers import load
from training.locks import Busy, Lock

# Of the folders in a cache.
PREFIX = "decoded-"


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
        lock: held as long as this is used, so that no other process removes the folder.
    """

    def __init__(self, folder: Path, lock: Lock | None = None) -> None:
        self.folder = folder
        self.index: npt.NDArray[np.int64] = np.load(folder / "index.npy", allow_pickle=False)
        self._lock = lock
        self._pixels: Pixels | None = None

    def __getstate__(self) -> dict[str, object]:
        # A process that is spawned maps the file itself, while its parent holds the lock.
        return {**self.__dict__, "_pixels": None, "_lock": None}

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
    say: Callable[[str], None] = lambda sentence: None,
) -> Decoded:
    """Decodes all of `pictures` into a folder of `cache`, unless it was done before: one process at a time does.

    The folder has pixels.u8, and index.npy with an int64 row (start, height, width) per picture.

    Args:
        say: told in a sentence when another process is waited for.
    """
    name = hashlib.sha256(f"{side} {' '.join(picture.sha256 for picture in pictures)}".encode()).hexdigest()[:16]
    folder = cache / f"{PREFIX}{name}"

    def on_wait() -> None:
        say(f"Waiting for another process that decodes the same pictures into {folder}.")

    while True:
        lock = Lock(folder / "lock", shared=True, on_wait=on_wait)
        if _whole(folder):
            return Decoded(folder, lock)
        lock.release()
        with Lock(folder / "lock", on_wait=on_wait) as alone:
            if not _whole(folder):
                if alone.works:
                    for rubbish in folder.glob(".*.part"):  # of processes that were killed
                        rubbish.unlink()
                _decode(folder, root, pictures, side, workers, progress)


def _decode(
    folder: Path,
    root: Path,
    pictures: Sequence[Picture],
    side: int,
    workers: int,
    progress: Callable[[int, int], None],
) -> None:
    rows, start = [], 0
    batches = load(_Pictures(root, pictures, side), _as_they_are, workers, batch_size=32)
    with replacing(folder / "pixels.u8", durable=False) as file:
        for pixels in itertools.chain.from_iterable(batches):
            file.write(pixels.tobytes())
            rows.append((start, *pixels.shape[:2]))
            start += pixels.size
            progress(len(rows), len(pictures))
    buffer = io.BytesIO()
    np.save(buffer, np.array(rows, dtype=np.int64))
    write_atomic(folder / "index.npy", buffer.getvalue())  # last: without it there is nothing


def _whole(folder: Path) -> bool:
    """Whether all pixels are there that the index speaks of."""
    try:
        start, height, width = np.load(folder / "index.npy", allow_pickle=False)[-1]
        return (folder / "pixels.u8").stat().st_size == int(start + height * width * 3)
    except (OSError, ValueError, EOFError, IndexError):
        return False


def remove_others(kept: Decoded) -> list[str]:
    """Removes what was decoded for other manifests or sides beside `kept`, unless a process uses it.

    Returns:
        A sentence for each folder.
    """
    sentences = []
    for folder in sorted(kept.folder.parent.glob(f"{PREFIX}*")):
        if folder == kept.folder or not folder.is_dir():
            continue
        try:
            with Lock(folder / "lock") as alone:
                if not alone.works:
                    continue  # nobody knows who uses it
                size = sum(file.stat().st_size for file in folder.iterdir())
                (folder / "index.npy").unlink(missing_ok=True)  # first: without it there is nothing
                shutil.rmtree(folder)
        except Busy:
            continue
        except OSError as error:
            sentences.append(f"Cannot remove {folder}, decoded for another manifest: {error.strerror}.")
            continue
        sentences.append(f"Removed {folder}, decoded for another manifest or side: {size / 1e6:.1f} MB.")
    return sentences
