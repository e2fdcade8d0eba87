"""Outputs of a frozen network for each picture, computed once per fixed view and cached by content.

The cache serves two ends: `model.freeze_backbone` trains the last layer on it, and `distill.teacher` gives a
teacher's answers beside the labels, on the very crops that the student sees. It is a folder of shards, each written
whole, so a killed run goes on where it stopped; changed or broken shards are computed again.
"""

import hashlib
import io
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.utils.data import Dataset

from handler.files import write_atomic
from handler.preprocess import InputSpec, Pixels, Resize, decode
from training.data.loaders import cut, view_box
from training.data.manifest import Picture
from training.data.pictures import open_upright, read_picture
from training.data.workers import load
from training.learning.inference import WORTH, Network, compiled
from training.locks import Lock

Features = npt.NDArray[np.float16]
# Named in a cache's facts, so that boxes that are drawn otherwise make another cache.
BOXES = "whole pixels"
# Pictures per shard: with 5 views, some ten seconds of work for two cores.
SHARD = 256


@dataclass(frozen=True, slots=True)
class Views:
    """`count` fixed crops of a picture, or, where it is 0, the whole picture as the server sees it."""

    size: int
    count: int
    min_area: float
    resize: Resize

    def cut(self, root: Path, picture: Picture) -> Pixels:
        """uint8 (views, size, size, 3)."""
        if self.count == 0:
            spec = InputSpec(self.size, self.resize)
            return decode(read_picture(root, picture), spec)[None]
        whole = np.asarray(open_upright(root, picture))
        height, width, _ = whole.shape
        boxes = (view_box(picture, view, width, height, self.min_area) for view in range(self.count))
        return np.stack([cut(whole, box, self.size) for box in boxes])


class _ViewPictures(Dataset[Pixels]):
    def __init__(self, root: Path, pictures: Sequence[Picture], views: Views) -> None:
        self.root, self.pictures, self.views = root, pictures, views

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, index: int) -> Pixels:
        return self.views.cut(self.root, self.pictures[index])


def _stack(items: list[Pixels]) -> torch.Tensor:
    return torch.from_numpy(np.concatenate(items))


class Cache:
    """The outputs of one network over one set of views.

    Args:
        folder: of all caches; each has a folder of its own there, named after what it depends on.
        network: any text that is another for another network or other weights.
    """

    def __init__(self, folder: Path, network: str, views: Views) -> None:
        facts = json.dumps({"network": network, "views": asdict(views), "boxes": BOXES}, indent=2, sort_keys=True)
        self.folder = folder / hashlib.sha256(facts.encode()).hexdigest()[:16]
        self.views = views
        self.folder.mkdir(parents=True, exist_ok=True)
        write_atomic(self.folder / "facts.json", facts.encode() + b"\n")

    def alone(self, say: Callable[[str], None] = lambda sentence: None) -> Lock:
        """A lock that one run at a time holds as it fills the cache; `say` is told when another one is waited for."""

        def on_wait() -> None:
            say(f"Waiting for another process that asks the same network about pictures, into {self.folder}.")

        return Lock(self.folder / "lock", on_wait=on_wait)

    def shards(self) -> Iterator[tuple[list[str], Features]]:
        """The pictures' sha256 and their outputs (n, views, k), shard by shard."""
        for path in sorted(self.folder.glob("*.npz")):
            try:
                with path.open("rb") as file, np.load(file, allow_pickle=False) as shard:
                    yield [str(sha) for sha in shard["sha256"]], shard["outputs"]
            except Exception:
                path.unlink(missing_ok=True)  # not one of ours, or broken by a disk: computed again

    def write(self, pictures: Sequence[Picture], outputs: Features) -> None:
        shas = [picture.sha256 for picture in pictures]
        path = self.folder / f"{hashlib.sha256(''.join(shas).encode()).hexdigest()[:16]}.npz"
        buffer = io.BytesIO()
        np.savez(buffer, sha256=np.array(shas), outputs=outputs)
        write_atomic(path, buffer.getvalue(), durable=False)

    def missing(self, pictures: Sequence[Picture]) -> list[Picture]:
        """Those not computed yet, each content once."""
        known = {sha for shas, _ in self.shards() for sha in shas}
        return list({picture.sha256: picture for picture in pictures if picture.sha256 not in known}.values())

    def read(self, pictures: Sequence[Picture]) -> Features:
        """Outputs of shape (pictures, views, k), in their order."""
        rows: dict[str, list[int]] = {}
        for row, picture in enumerate(pictures):
            rows.setdefault(picture.sha256, []).append(row)
        result: Features | None = None
        for shas, outputs in self.shards():
            if result is None:
                result = np.empty((len(pictures), *outputs.shape[1:]), dtype=np.float16)
            for sha, output in zip(shas, outputs, strict=True):
                result[rows.pop(sha, [])] = output
        assert result is not None, "read before it was filled"
        assert not rows, "read before it was filled"
        return result


@torch.inference_mode()
def fill(
    cache: Cache,
    network: nn.Module,
    root: Path,
    pictures: Sequence[Picture],
    device: torch.device,
    amp: torch.dtype | None,
    workers: int,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> None:
    """Computes what is missing.

    Args:
        network: uint8 (n, size, size, 3) -> (n, k), in evaluation mode and on `device`.
        progress: called with pictures done and in all.
    """
    todo = cache.missing(pictures)
    done = len(pictures) - len(todo)
    progress(done, len(pictures))
    views = max(1, cache.views.count)
    batch_size = max(1, 64 // views)
    run: Network = network
    if device.type == "cpu" and amp is None and len(todo) * views >= WORTH:
        run = compiled(network, batch_size * views, cache.views.size)
    for start in range(0, len(todo), SHARD):
        shard = todo[start : start + SHARD]
        rows = []
        for pixels in load(_ViewPictures(root, shard, cache.views), _stack, workers, batch_size=batch_size):
            with torch.autocast(device.type, dtype=amp or torch.bfloat16, enabled=amp is not None):
                rows.append(run(pixels.to(device)).half().cpu())
            done += len(pixels) // views
            progress(done, len(pictures))
        cache.write(shard, torch.cat(rows).view(len(shard), views, -1).numpy())
