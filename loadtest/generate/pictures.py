"""The pool of pictures that are sent: different ones, and the same for the same seed.

One picture sent again and again would be decoded from warm caches, and its answer would always be right. So each
picture of a folder is sent as it is and in other sizes and qualities, as phones, pages and thumbnails have them.
"""

import hashlib
import io
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from handler.files import UserError
from serving.client.pictures import EMPTY, find_pictures

# Longest side in pixels, quality of the JPEG: thumbnails, pages, phones. Their bytes spread by a factor of about 20.
VARIANTS = ((160, 75), (320, 85), (1024, 85))


@dataclass(frozen=True, slots=True)
class Picture:
    data: bytes
    label: str | None = None
    """The class that its folder is named by; None where there are no such folders."""
    refusal: tuple[int, str] | None = None
    """Status and code of the answer that a picture broken on purpose must get."""


@dataclass(frozen=True, slots=True)
class Pool:
    good: tuple[Picture, ...]
    bad: tuple[Picture, ...]

    @property
    def sha256(self) -> str:
        digest = hashlib.sha256()
        for picture in self.good:
            digest.update(hashlib.sha256(picture.data).digest())
        return digest.hexdigest()

    @property
    def mean_bytes(self) -> int:
        return sum(len(picture.data) for picture in self.good) // len(self.good)

    def draw(self, rng: random.Random, bad_share: float) -> Picture:
        bad = self.bad and bad_share and rng.random() < bad_share
        return rng.choice(self.bad if bad else self.good)


def make_pool(folder: Path, seed: int = 0, most: int = 64, say: Callable[[str], None] = lambda sentence: None) -> Pool:
    """Read the pictures of a folder.

    Args:
        folder: of pictures, in folders named by their class or directly.
        most: pictures in the pool. A folder of more is drawn from, one of fewer is sent in several sizes.
        say: told in a sentence which files of the folder are skipped.

    Raises:
        UserError: there are no pictures in it, or one cannot be read.
    """
    rng = random.Random(seed)  # what is drawn must be drawn again, not be unpredictable
    paths = find_pictures([folder], say)
    rng.shuffle(paths)
    good = [Picture(path.read_bytes(), label_of(path, folder)) for path in paths[:most]]
    for path, picture in zip(paths, good, strict=False):
        if not picture.data:
            raise UserError(f"{path}: {EMPTY}")
    for variant in variants(paths, folder):
        if len(good) >= most:
            break
        good.append(variant)
    return Pool(tuple(good), bad_ones(good[0].data))


def label_of(path: Path, folder: Path) -> str | None:
    return path.parent.name.lower() if path.parent != folder else None


def variants(paths: Sequence[Path], folder: Path) -> Iterator[Picture]:
    for side, quality in VARIANTS:
        for path in paths:
            try:
                with Image.open(path) as image:
                    picture = image.convert("RGB")
            except OSError as error:
                raise UserError(f"{path} is not a picture that can be read: {error}.") from error
            scale = side / max(picture.size)
            size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
            out = io.BytesIO()
            picture.resize(size).save(out, "JPEG", quality=quality)
            yield Picture(out.getvalue(), label_of(path, folder))


def bad_ones(good: bytes) -> tuple[Picture, ...]:
    """Return broken pictures, as clients send them by mistake, with the refusals that the API promises for them."""
    return (
        Picture(good[: len(good) // 2], refusal=(422, "corrupt_image")),
        Picture(b"This is no picture, but a sentence.", refusal=(415, "unsupported_image")),
        Picture(b"%PDF-1.7\n" + bytes(2000), refusal=(415, "unsupported_image")),
    )
