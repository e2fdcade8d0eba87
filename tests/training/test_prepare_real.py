"""The same on real pictures: Microsoft's, squeezed, and photographs of the same set at their original size."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from handler.load_image import upright
from training.data.duplicates import TWIN_BITS, dhash
from training.data.manifest import Picture, Prepared
from training.data.prepare import prepare


@pytest.fixture(scope="module")
def folders() -> tuple[Path, Path]:
    named = [os.environ.get(name, "") for name in ("CATSDOGS_PICTURES", "CATSDOGS_PHOTOS")]
    web, photos = map(Path, named)
    if not all(named) or not web.is_dir() or not photos.is_dir():
        pytest.fail("Set CATSDOGS_PICTURES and CATSDOGS_PHOTOS to folders of real pictures, in class folders.")
    return web, photos


@pytest.fixture(scope="module")
def prepared(folders: tuple[Path, Path]) -> Prepared:
    web, photos = folders
    return prepare([web], [photos])


@pytest.fixture(scope="module")
def originals(prepared: Prepared, folders: tuple[Path, Path]) -> list[Picture]:
    photos = os.path.abspath(folders[1])
    photographs = [row for row in prepared.pictures if (prepared.root / row.path).is_relative_to(photos)]
    assert len(photographs) >= 100
    assert len(prepared.pictures) - len(photographs) >= 10 * len(photographs)
    return photographs


@pytest.mark.pictures
def test_no_twin_of_a_real_photograph_is_trained_on(prepared: Prepared, originals: list[Picture]) -> None:
    groups = {picture.group for picture in originals}
    members = [picture.group for picture in prepared.pictures]
    # Each photograph's twin is there, and was found.
    assert [picture.path for picture in originals if members.count(picture.group) < 2] == []
    assert [row.path for row in prepared.pictures if row.group in groups and row.split != "test"] == []


@pytest.mark.pictures
def test_no_picture_of_another_side_is_as_near_to_a_real_photograph_as_a_twin(
    prepared: Prepared, originals: list[Picture]
) -> None:
    def bits(rows: list[Picture]) -> np.ndarray[tuple[int, ...], np.dtype[np.int32]]:
        hashes = []
        for row in rows:
            with Image.open(prepared.root / row.path) as image:
                hashes.append(np.frombuffer(dhash(upright(image)), dtype=np.uint8))
        return np.unpackbits(np.stack(hashes), axis=1).astype(np.int32)

    others = [row for row in prepared.pictures if row.split != "test"]
    assert len(others) > len(prepared.pictures) // 2
    seen, learned = bits(originals), bits(others)
    # Bits that differ: those of the one, and of the other, less twice those of both.
    distances = seen.sum(axis=1)[:, None] + learned.sum(axis=1)[None] - 2 * (seen @ learned.T)
    near = [(originals[i].path, others[j].path) for i, j in np.argwhere(distances <= TWIN_BITS)]
    assert near == []
