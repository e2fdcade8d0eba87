"""CIFAR10 as it is published: six batches, in Python's pickle format or in a plain binary one.

Its pictures become PNG files in class folders, named train-00000.png and test-00000.png, so that the official split
can be read from the names. Source: https://www.cs.toronto.edu/~kriz/cifar.html
"""

import hashlib
import re
import tarfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image

from handler.files import UserError
from training.data.layout import Labelled
from training.data.sets.plain_pickle import Bytes, PlainPickleError, as_bytes, load
from training.data.whole import whole

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
SIDE = 32
PIXELS = 3 * SIDE * SIDE
# Folders that the archives unpack to.
FOLDERS = ("cifar-10-batches-py", "cifar-10-batches-bin")
BATCH = re.compile(r"(data_batch_[1-5]|test_batch)(\.bin)?")
META = ("batches.meta", "batches.meta.txt")
# A batch of 10,000 pictures has 31 MB.
MAX_BATCH_BYTES = 64 * 10**6
PICTURE = re.compile(r"(train|test)-[0-9]{5}\.png")

Batches = Mapping[str, bytes]


def batches_in(folder: Path) -> Path | None:
    """Return the folder of the batches: this one, or the one in it that the archives unpack to."""
    for place in (folder, *(folder / name for name in FOLDERS)):
        if any(
            (place / name).is_file() for batch in ("data_batch_1", "test_batch") for name in (batch, f"{batch}.bin")
        ):
            return place
    return None


def is_archive(path: Path) -> bool:
    """Tell whether a file is named as CIFAR10's archives are, cifar-10-python.tar.gz or cifar-10-binary.tar.gz."""
    return re.fullmatch(r"cifar-10-(python|binary)\.(tar\.gz|tgz|tar)", path.name) is not None


def unpack_folder(folder: Path, unpack_to: Path) -> Path:
    """Write the pictures of a folder of batches as a tree of class folders in `unpack_to`, once."""
    try:
        batches = {
            path.name: _bounded(path, path.stat().st_size, path.read_bytes)
            for path in sorted(folder.iterdir())
            if path.is_file() and (BATCH.fullmatch(path.name) or path.name in META)
        }
    except OSError as error:
        raise UserError(f"{error.filename} cannot be read: {error.strerror}.") from error
    return write_tree(folder, batches, unpack_to / f"cifar10-{_digest(batches)}")


def unpack_archive(archive: Path, unpack_to: Path, tree: str | None = None) -> Path:
    """Write the pictures of one of CIFAR10's archives as a tree of class folders in `unpack_to`, once."""
    batches: dict[str, bytes] = {}
    try:
        with tarfile.open(archive) as packed:
            for member in packed:
                name = PurePosixPath(member.name).name
                file = packed.extractfile(member) if member.isreg() else None
                if file is not None and (BATCH.fullmatch(name) or name in META):
                    batches[name] = _bounded(archive, member.size, file.read)
    except (tarfile.TarError, zlib.error, EOFError, OSError) as error:
        raise UserError(f"{archive} is damaged: {error}. Fetch it again.") from error
    return write_tree(archive, batches, unpack_to / (tree or f"cifar10-{_digest(batches)}"))


def _bounded(path: Path, size: int, read: Callable[[], bytes]) -> bytes:
    if size > MAX_BATCH_BYTES:
        raise UserError(f"{path} is no batch of CIFAR10: it has more than {MAX_BATCH_BYTES // 10**6} MB.")
    return read()


def _digest(batches: Batches) -> str:
    digest = hashlib.sha256()
    for name in sorted(batches):
        digest.update(name.encode() + hashlib.sha256(batches[name]).digest())
    return digest.hexdigest()[:16]


def write_tree(source: Path, batches: Batches, tree: Path) -> Path:
    """Write the pictures of batches as PNG files in class folders.

    Args:
        source: for messages.

    Raises:
        UserError: there are none, or one is damaged or no batch.
    """
    if tree.exists():
        return tree
    names = sorted(name for name in batches if BATCH.fullmatch(name))
    if not names:
        raise UserError(f"{source} holds no batches of CIFAR10 (data_batch_1 to 5 and test_batch).")
    classes = _classes(source, batches)
    numbers = {"train": 0, "test": 0}
    with whole(tree) as new:
        for name in names:
            side = "test" if name.startswith("test") else "train"
            for label, pixels in _pictures(source, name, batches[name], len(classes)):
                folder = new / classes[label]
                folder.mkdir(exist_ok=True)
                Image.fromarray(pixels).save(folder / f"{side}-{numbers[side]:05}.png")
                numbers[side] += 1
    return tree


def _classes(source: Path, batches: Batches) -> list[str]:
    """Return the names of the classes, by number."""
    names: object = list(CLASSES)
    try:
        if "batches.meta" in batches:
            names = _by_name(load(batches["batches.meta"]))["label_names"]
        elif "batches.meta.txt" in batches:
            names = batches["batches.meta.txt"].decode().split()
    except (PlainPickleError, LookupError, UnicodeDecodeError) as error:
        raise UserError(f"{source}: batches.meta names no classes: {error}.") from error
    if not isinstance(names, list) or not names or not all(_is_name(name) for name in names):
        raise UserError(f"{source}: batches.meta names no classes, or one that cannot name a folder.")
    return names


def _is_name(name: object) -> bool:
    return isinstance(name, str) and re.fullmatch(r"[\w-][\w .-]*", name) is not None


def _by_name(values: object) -> dict[str, object]:
    """Return a dict whose keys may be bytes."""
    if not isinstance(values, dict):
        raise PlainPickleError("it holds no dict")
    return {key.decode("latin-1") if isinstance(key, bytes) else str(key): value for key, value in values.items()}


def _pictures(source: Path, name: str, batch: bytes, classes: int) -> Iterator[tuple[int, Bytes]]:
    """Yield label and pixels, (32, 32, 3), of each picture of a batch."""
    try:
        labels, rows = _binary(batch) if name.endswith(".bin") else _pickled(batch)
    except (PlainPickleError, LookupError) as error:
        raise UserError(f"{source}: {name} is no batch of CIFAR10: {error}. Fetch the dataset again.") from error
    for label, row in zip(labels, rows, strict=True):
        if type(label) is not int or not 0 <= label < classes:
            raise UserError(f"{source}: {name} has a picture of class {label!r}, and there are {classes} classes.")
        yield label, np.ascontiguousarray(row.reshape(3, SIDE, SIDE).transpose(1, 2, 0))


def _pickled(batch: bytes) -> tuple[list[object], Bytes]:
    values = _by_name(load(batch))
    labels, rows = values["labels"], as_bytes(values["data"])
    if not isinstance(labels, list) or rows.shape != (len(labels), PIXELS):
        raise PlainPickleError(f"its pictures are {rows.shape}, not a row of {PIXELS} bytes for each label")
    return labels, rows


def _binary(batch: bytes) -> tuple[list[object], Bytes]:
    if not batch or len(batch) % (1 + PIXELS):
        raise PlainPickleError(f"its {len(batch)} bytes are not rows of {1 + PIXELS}")
    rows = np.frombuffer(batch, np.uint8).reshape(-1, 1 + PIXELS)
    return list(rows[:, 0].tolist()), rows[:, 1:]


def official_split(tree: Path) -> list[Labelled] | None:
    """Return the pictures of such a tree on their official sides; None where it is another tree."""
    pictures = sorted(tree.glob("*/*.png"))
    matches = [PICTURE.fullmatch(path.name) for path in pictures]
    if not pictures or not all(matches) or {match[1] for match in matches if match} != {"train", "test"}:
        return None
    return [Labelled(path, path.parent.name, match[1]) for path, match in zip(pictures, matches, strict=True) if match]
