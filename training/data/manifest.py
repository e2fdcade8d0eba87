"""Any tree of class folders -> manifest.csv, the split that every later step trusts, and quarantine.csv.

The split is decided by content, not by chance or order: a group of near-duplicates has one key, the smallest
sha256 in it, and the key's hash picks the side. So a picture never changes sides between runs or machines, and a
photograph's smaller twin is never trained on while the photograph is tested. Where an earlier manifest is given,
pictures stay where it has them.
"""

import csv
import hashlib
import io
import json
import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import astuple, dataclass, field, fields
from pathlib import Path

from handler.files import UserError, sha256_file, write_atomic
from training.data.duplicates import group_twins
from training.data.labels import check_classes, label_of, set_contradictions_aside
from training.data.scan import Quarantined, Scanned, scan
from training.data.tree import find_files

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
class Move:
    """A picture that stands on another side than in the previous manifest; its fields are the columns of moves.csv."""

    sha256: str
    path: str
    before: str
    after: str
    why: str


@dataclass(frozen=True, slots=True)
class Prepared:
    """What `prepare` found: the pictures by path, and what was set aside.

    `known` counts the pictures that the previous manifest has, `decoded` the files that this run had to decode.
    """

    root: Path
    pictures: list[Picture]
    quarantine: list[Quarantined]
    moves: list[Move] = field(default_factory=list)
    known: int = 0
    decoded: int = 0

    @property
    def classes(self) -> list[str]:
        return sorted({picture.label for picture in self.pictures})

    def counts(self) -> Counter[tuple[str, str]]:
        return Counter((picture.label, picture.split) for picture in self.pictures)

    def groups(self) -> Counter[str]:
        """Pictures in each group of near-duplicates."""
        return Counter(picture.group for picture in self.pictures)

    def reasons(self) -> Counter[str]:
        """Files set aside, by the code of the reason."""
        return Counter(row.reason.partition(":")[0] for row in self.quarantine)


def choose_split(group: str, ratios: tuple[int, int, int]) -> str:
    """The side of a group, by its name alone: stable as data grows, the same on every machine."""
    point = int(hashlib.sha256(f"catsdogs split {group}".encode()).hexdigest(), 16) % sum(ratios)
    return SPLITS[0] if point < ratios[0] else SPLITS[1] if point < ratios[0] + ratios[1] else SPLITS[2]


def prepare(
    folders: Sequence[Path],
    evaluation_only: Sequence[Path] = (),
    ratios: tuple[int, int, int] = (80, 10, 10),
    progress: Callable[[int, int], None] = lambda done, total: None,
    *,
    previous: Mapping[str, str] | None = None,
    kept: Path | None = None,
) -> Prepared:
    """Scans, groups and splits.

    Args:
        folders: trees of class folders; the label is the lower-cased name of a picture's folder.
        evaluation_only: trees whose pictures, and whatever shares a group with one, are `test`.
        ratios: parts for train, val and test.
        progress: called with files done and files in all.
        previous: side of each sha256 in an earlier manifest. A group stays on the side of its old members, new
            pictures join them; where they stood on several sides, the group goes to `test`.
        kept: file in which what was found in each picture outlives this run, see `scan`.

    Raises:
        UserError: a folder is missing or holds nothing, or a class is missing, empty or of one picture.
    """
    if min(ratios) < 0 or sum(ratios) == 0:
        raise UserError(f"The parts of the split must be 0 or more, and one of them more: not {ratios}.")
    folders, evaluation_only = ([Path(os.path.abspath(f)) for f in some] for some in (folders, evaluation_only))
    files, innermost = find_files([*folders, *evaluation_only])
    root = Path(os.path.commonpath([*folders, *evaluation_only]))
    results, decoded = scan(files, kept, progress)
    scanned, contradictions = set_contradictions_aside([row for row in results if isinstance(row, Scanned)], root)
    quarantine = [
        Quarantined(Path(row.path).relative_to(root).as_posix(), row.reason)
        for row in results
        if isinstance(row, Quarantined)
    ]
    quarantine = sorted([*quarantine, *contradictions], key=lambda row: row.path)
    if not scanned:
        raise UserError(f"None of the {len(files)} files is a picture that can be read: {quarantine[0].reason}")
    check_classes(scanned, innermost, quarantine)

    members: dict[int, list[Scanned]] = {}
    for picture, group in zip(scanned, group_twins([picture.dhash for picture in scanned]), strict=True):
        members.setdefault(group, []).append(picture)
    previous = previous or {}
    pictures, moves = [], []
    for group_members in members.values():
        group_name = min(picture.sha256 for picture in group_members)[:16]
        split, why = _side(group_members, group_name, ratios, evaluation_only, root, previous)
        for picture in group_members:
            path = picture.path.relative_to(root).as_posix()
            pictures.append(
                Picture(path, label_of(picture), split, picture.sha256, group_name, picture.width, picture.height)
            )
            before = previous.get(picture.sha256, split)
            if before != split:
                moves.append(Move(picture.sha256, path, before, split, why))
    return Prepared(
        root,
        sorted(pictures, key=lambda picture: picture.path),
        quarantine,
        sorted(moves, key=lambda move: move.path),
        sum(picture.sha256 in previous for picture in pictures),
        decoded,
    )


def _side(
    group: Sequence[Scanned],
    name: str,
    ratios: tuple[int, int, int],
    evaluation_only: Sequence[Path],
    root: Path,
    previous: Mapping[str, str],
) -> tuple[str, str]:
    """The side of a group, and why it is not where old members stood."""
    for picture in group:
        if any(picture.path.is_relative_to(tree) for tree in evaluation_only):
            path = picture.path.relative_to(root).as_posix()
            return "test", f"shares a group with {path}, which is for evaluation only"
    before = {previous[picture.sha256] for picture in group if picture.sha256 in previous}
    if len(before) > 1:
        sides = " and ".join(side for side in SPLITS if side in before)
        return "test", f"near-duplicates that stood in {sides} became one group"
    return (before.pop() if before else choose_split(name, ratios)), ""


def check_out(out: Path, folders: Sequence[Path]) -> None:
    """The next run would take what it finds among the pictures, contact sheets too, for a class."""
    for folder in folders:
        if out.resolve().is_relative_to(folder.resolve()):
            raise UserError(f"{out} lies inside {folder}, which is searched for pictures. Name another --out.")


def write(prepared: Prepared, out: Path, moves_before: Sequence[Move] = ()) -> str:
    """Writes manifest.csv, quarantine.csv, moves.csv and summary.json (which alone knows where the pictures lie here).

    A kill at any moment leaves a manifest that `read_sides` takes, the old one or the new one.

    Args:
        moves_before: moves that earlier runs listed in `out`, and that stay listed.

    Returns:
        The sha256 of manifest.csv.
    """
    out.mkdir(parents=True, exist_ok=True)
    manifest = _csv(Picture, prepared.pictures)
    digest = hashlib.sha256(manifest).hexdigest()
    write_atomic(
        out / "quarantine.csv",
        _rows(["path", "reason"], [(row.path, row.reason) for row in prepared.quarantine]),
    )
    # A run that was killed after it listed its moves lists them again.
    write_atomic(out / "moves.csv", _csv(Move, list(dict.fromkeys([*moves_before, *prepared.moves]))))
    groups = prepared.groups()
    summary = {
        "root": str(prepared.root),
        "manifest_sha256": digest,
        "replaces": sha256_file(out / "manifest.csv") if (out / "manifest.csv").exists() else None,
        "pictures": len(prepared.pictures),
        "quarantined": len(prepared.quarantine),
        "quarantined_by_reason": dict(sorted(prepared.reasons().items())),
        "groups": len(groups),
        "near_duplicates": sum(count for count in groups.values() if count > 1),
        "moved": len(prepared.moves),
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
    names: dict[str, str] = field(default_factory=dict)
    """Display name of each label that has another than itself."""
    folder: Path | None = None
    """Where it was read from, and where earlier manifests are kept."""

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
        root, wanted = Path(summary["root"]), summary["manifest_sha256"]
    except FileNotFoundError as error:
        raise UserError(f"{error.filename} is missing. Make it by: catsdogs prepare PICTURES --out {folder}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{folder}/summary.json is broken. Make it anew by catsdogs prepare.") from error
    digest = hashlib.sha256(raw).hexdigest()
    if digest != wanted and digest == summary.get("replaces"):
        raise UserError(f"catsdogs prepare was stopped before it had written {folder}/manifest.csv. Run it again.")
    if digest != wanted:
        raise UserError(f"{folder}/manifest.csv was changed after it was made. Make it anew by catsdogs prepare.")
    pictures = parse_pictures(raw)
    if pictures and not (root / pictures[0].path).exists():
        raise UserError(f"The pictures are no longer in {root}: move them back, or run catsdogs prepare again.")
    return Manifest(root, pictures, digest, summary.get("names", {}), folder)


def read_sides(folder: Path) -> dict[str, str]:
    """The side of each sha256 in a manifest, whose pictures may since have been renamed, moved or removed.

    Raises:
        UserError: it is missing, or was changed by another hand.
    """
    hint = "Put it back as it was, or start anew by --fresh."
    try:
        raw = (folder / "manifest.csv").read_bytes()
        summary = json.loads((folder / "summary.json").read_bytes())
        # A run that was killed between the two files leaves the manifest that it was about to replace.
        wanted = (summary["manifest_sha256"], summary.get("replaces"))
    except FileNotFoundError as error:
        raise UserError(f"{error.filename}, of the previous manifest, is missing. {hint}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{folder}/summary.json, of the previous manifest, is broken. {hint}") from error
    if hashlib.sha256(raw).hexdigest() not in wanted:
        raise UserError(f"The previous manifest {folder}/manifest.csv was changed after it was made. {hint}")
    return {picture.sha256: picture.split for picture in parse_pictures(raw)}


def read_moves(folder: Path) -> list[Move]:
    """What moves.csv lists, nothing where it is missing or not ours."""
    try:
        rows = csv.DictReader(io.StringIO((folder / "moves.csv").read_bytes().decode(), newline=""))
        return [Move(**row) for row in rows]
    except (FileNotFoundError, TypeError, ValueError):
        return []


def parse_pictures(raw: bytes) -> list[Picture]:
    """Return the rows of a manifest.csv."""
    rows = csv.DictReader(io.StringIO(raw.decode(), newline=""))
    return [Picture(**{**row, "width": int(row["width"]), "height": int(row["height"])}) for row in rows]  # type: ignore[arg-type]


def _csv(row_type: type[Picture] | type[Move], rows: Sequence[Picture] | Sequence[Move]) -> bytes:
    return _rows([column.name for column in fields(row_type)], [astuple(row) for row in rows])


def _rows(header: Sequence[str], rows: Sequence[Sequence[object]]) -> bytes:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return buffer.getvalue().encode(errors="backslashreplace")
