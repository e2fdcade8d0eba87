"""Any tree of class folders -> manifest.csv, the split that every later step trusts, and quarantine.csv.

The split is decided by content, not by chance or order: a group of near-duplicates has one key, the smallest
sha256 in it, and the key's hash picks the side. So a picture never changes sides between runs or machines, and a
photograph's smaller twin is never trained on while the photograph is tested.
"""

import csv
import hashlib
import io
import json
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import astuple, dataclass, fields
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from handler.files import UserError, write_atomic
from handler.preprocess import open_image, upright
from handler.problem import Problem

HASH_SIDE = 16
# Microsoft's photographs and their squeezed twins lie within 15 of the 256 bits; measured, see the design's sources.
TWIN_BITS = 15
SPLITS = ("train", "val", "test")


@dataclass(frozen=True, slots=True)
class Picture:
    """One row of the manifest; `path` is relative to the manifest's root, `group` names its near-duplicates."""

    path: str
    label: str
    split: str
    sha256: str
    group: str
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class _Scanned:
    path: Path
    sha256: str
    dhash: bytes
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Quarantined:
    """A file that cannot be trained on, and why."""

    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class Prepared:
    """What `prepare` found: the pictures by path, and what was set aside."""

    root: Path
    pictures: list[Picture]
    quarantine: list[Quarantined]

    @property
    def classes(self) -> list[str]:
        return sorted({picture.label for picture in self.pictures})

    def counts(self) -> Counter[tuple[str, str]]:
        return Counter((picture.label, picture.split) for picture in self.pictures)


def find_files(folders: Sequence[Path]) -> list[Path]:
    """Every file below the class folders of `folders`, sorted; hidden ones are left out."""
    files = []
    for folder in folders:
        if not folder.is_dir():
            raise UserError(f"{folder} is not a folder. Name a folder that holds one folder per class.")
        found = [
            path
            for path in folder.rglob("*")
            if path.is_file()
            and path.parent != folder
            and not any(part.startswith(".") for part in path.relative_to(folder).parts)
        ]
        if not found:
            raise UserError(f"{folder} holds no class folders with pictures (expected {folder}/cat/1.jpg and so on).")
        files += found
    return sorted(set(files))


def scan_file(path: Path) -> _Scanned | Quarantined:
    """Decodes one picture fully: `verify()` of Pillow lets truncated JPEGs pass."""
    try:
        data = path.read_bytes()
        image = upright(open_image(data))
    except Problem as problem:
        return Quarantined(str(path), f"{problem.code}: {problem.detail}")
    except Exception as error:
        return Quarantined(str(path), f"corrupt_image: {error}")
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return Quarantined(str(path), "bad_name: the path is not UTF-8, so a manifest cannot name it")
    return _Scanned(path, hashlib.sha256(data).hexdigest(), dhash(image), image.width, image.height)


def dhash(image: Image.Image) -> bytes:
    """256 bits: is each pixel of the whole picture at 17x16 brighter than its left neighbour."""
    grey = np.asarray(image.convert("L").resize((HASH_SIDE + 1, HASH_SIDE), Image.Resampling.BILINEAR), dtype=np.int16)
    return np.packbits(grey[:, 1:] > grey[:, :-1]).tobytes()


def twin_pairs(hashes: npt.NDArray[np.uint64], block: int = 256) -> Iterator[tuple[int, int]]:
    """Pairs (i, j), i < j, whose hashes differ in at most TWIN_BITS bits.

    Args:
        hashes: uint64 array of shape (n, 4).
    """
    # Hashes within 15 bits have bit counts within 15, so, sorted by bit count, each row meets a window only.
    bits = np.bitwise_count(hashes).sum(axis=1)
    order = np.argsort(bits, kind="stable")
    rows, bits = hashes[order], bits[order]
    ends = np.searchsorted(bits, bits + TWIN_BITS, side="right")
    for start in range(0, len(rows), block):
        stop = min(start + block, len(rows))
        end = ends[stop - 1]
        distance = np.zeros((stop - start, end - start), dtype=np.uint16)
        for word in range(rows.shape[1]):
            distance += np.bitwise_count(rows[start:stop, None, word] ^ rows[None, start:end, word])
        for i, j in np.argwhere(distance <= TWIN_BITS):
            if i < j:
                a, b = int(order[start + i]), int(order[start + j])
                yield min(a, b), max(a, b)


def group_twins(hashes: Sequence[bytes]) -> list[int]:
    """For each hash the smallest index of its group of near-duplicates (connected by `twin_pairs`)."""
    parent = list(range(len(hashes)))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    words = np.frombuffer(b"".join(hashes), dtype=np.uint64).reshape(len(hashes), -1)
    for i, j in twin_pairs(words):
        a, b = root(i), root(j)
        parent[max(a, b)] = min(a, b)
    return [root(i) for i in range(len(hashes))]


def choose_split(group: str, ratios: tuple[int, int, int]) -> str:
    """The side of a group, by its name alone: stable as data grows, the same on every machine."""
    point = int(hashlib.sha256(f"catsdogs split {group}".encode()).hexdigest(), 16) % sum(ratios)
    return SPLITS[0] if point < ratios[0] else SPLITS[1] if point < ratios[0] + ratios[1] else SPLITS[2]


def prepare(
    folders: Sequence[Path],
    evaluation_only: Sequence[Path] = (),
    ratios: tuple[int, int, int] = (80, 10, 10),
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Prepared:
    """Scans, groups and splits.

    Args:
        folders: trees of class folders; the label is the lower-cased name of a picture's folder.
        evaluation_only: trees whose pictures, and whatever shares a group with one, are `test`.
        ratios: parts for train, val and test.
        progress: called with files done and files in all.

    Raises:
        UserError: a folder is missing or holds nothing.
    """
    if min(ratios) < 0 or sum(ratios) == 0:
        raise UserError(f"The parts of the split must be 0 or more, and one of them more: not {ratios}.")
    folders, evaluation_only = ([Path(os.path.abspath(f)) for f in some] for some in (folders, evaluation_only))
    files = find_files([*folders, *evaluation_only])
    root = Path(os.path.commonpath([*folders, *evaluation_only]))
    scanned: list[_Scanned] = []
    quarantine: list[Quarantined] = []
    with ProcessPoolExecutor() as pool:
        for done, result in enumerate(pool.map(scan_file, files, chunksize=64), start=1):
            if isinstance(result, Quarantined):
                relative = Path(result.path).relative_to(root).as_posix()
                quarantine.append(Quarantined(relative, result.reason))
            else:
                scanned.append(result)
            if done % 64 == 0 or done == len(files):
                progress(done, len(files))
    if not scanned:
        raise UserError(f"None of the {len(files)} files is a picture that can be read: {quarantine[0].reason}")

    members: dict[int, list[_Scanned]] = {}
    for picture, group in zip(scanned, group_twins([picture.dhash for picture in scanned]), strict=True):
        members.setdefault(group, []).append(picture)
    pictures = []
    for group_members in members.values():
        group_name = min(picture.sha256 for picture in group_members)[:16]
        tested = any(picture.path.is_relative_to(tree) for picture in group_members for tree in evaluation_only)
        split = "test" if tested else choose_split(group_name, ratios)
        for picture in group_members:
            label = picture.path.parent.name.lower()
            path = picture.path.relative_to(root).as_posix()
            pictures.append(Picture(path, label, split, picture.sha256, group_name, picture.width, picture.height))
    return Prepared(root, sorted(pictures, key=lambda picture: picture.path), quarantine)


def write(prepared: Prepared, out: Path) -> str:
    """Writes manifest.csv, quarantine.csv and summary.json (which alone knows where the pictures lie here).

    Returns:
        The sha256 of manifest.csv.
    """
    out.mkdir(parents=True, exist_ok=True)
    manifest = _csv([field.name for field in fields(Picture)], [astuple(picture) for picture in prepared.pictures])
    digest = hashlib.sha256(manifest).hexdigest()
    write_atomic(out / "quarantine.csv", _csv(["path", "reason"], [astuple(row) for row in prepared.quarantine]))
    summary = {
        "root": str(prepared.root),
        "manifest_sha256": digest,
        "pictures": len(prepared.pictures),
        "quarantined": len(prepared.quarantine),
        "groups": len({picture.group for picture in prepared.pictures}),
        "counts": {f"{label}/{split}": count for (label, split), count in sorted(prepared.counts().items())},
    }
    write_atomic(out / "summary.json", json.dumps(summary, indent=2).encode() + b"\n")
    write_atomic(out / "manifest.csv", manifest)
    return digest


@dataclass(frozen=True, slots=True)
class Manifest:
    """A manifest as read back: its pictures, where they lie on this machine, and its sha256."""

    root: Path
    pictures: list[Picture]
    sha256: str

    @property
    def classes(self) -> list[str]:
        return sorted({picture.label for picture in self.pictures})

    def split(self, name: str) -> list[Picture]:
        return [picture for picture in self.pictures if picture.split == name]


def read(folder: Path) -> Manifest:
    """Reads what `write` wrote.

    Raises:
        UserError: it is missing, or manifest.csv is not the one that summary.json was written with.
    """
    try:
        raw = (folder / "manifest.csv").read_bytes()
        summary = json.loads((folder / "summary.json").read_bytes())
    except FileNotFoundError as error:
        raise UserError(f"{error.filename} is missing. Make it by: catsdogs prepare PICTURES --out {folder}") from error
    except ValueError as error:
        raise UserError(f"{folder}/summary.json is broken. Make it anew by catsdogs prepare.") from error
    digest = hashlib.sha256(raw).hexdigest()
    if digest != summary["manifest_sha256"]:
        raise UserError(f"{folder}/manifest.csv was changed after it was made. Make it anew by catsdogs prepare.")
    rows = csv.DictReader(io.StringIO(raw.decode()))
    pictures = [Picture(**{**row, "width": int(row["width"]), "height": int(row["height"])}) for row in rows]  # type: ignore[arg-type]
    root = Path(summary["root"])
    if pictures and not (root / pictures[0].path).exists():
        raise UserError(f"The pictures are no longer in {root}: move them back, or run catsdogs prepare again.")
    return Manifest(root, pictures, digest)


def _csv(header: Sequence[str], rows: Sequence[Sequence[object]]) -> bytes:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return buffer.getvalue().encode(errors="backslashreplace")
