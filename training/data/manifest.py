"""The manifest: the pictures with the split that every later step trusts, in manifest.csv and files beside it."""

import csv
import hashlib
import io
import json
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, astuple, dataclass, field, fields
from pathlib import Path

from handler.files import UserError, sha256_file, write_atomic
from training.data.corrections import Applied
from training.data.own_split import Crossing
from training.data.scan import Quarantined
from training.data.shards import exists, forget

# Classes with fewer pictures in a split are named: the 95 % interval of their accuracy is 30 points wide or so.
FEW_PICTURES = 20


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
    """The result of `prepare`: the pictures by path, and what was set aside.

    Attributes:
        known: pictures that the previous manifest has.
        decoded: files that this run had to decode.
        names: display name of each label that is written otherwise.
        notes: sentences on how the folders were read.
        crossings: near-duplicates on different sides of the user's own split, set aside unless the user kept them.
        feedback: paths of the pictures that come from a review of feedback.
        corrections: the effect of a file of corrections, where one was given.
    """

    root: Path
    pictures: list[Picture]
    quarantine: list[Quarantined]
    moves: list[Move] = field(default_factory=list)
    known: int = 0
    decoded: int = 0
    names: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    crossings: list[Crossing] = field(default_factory=list)
    feedback: list[str] = field(default_factory=list)
    corrections: Applied | None = None

    @property
    def classes(self) -> list[str]:
        return sorted({picture.label for picture in self.pictures})

    def counts(self) -> Counter[tuple[str, str]]:
        return Counter((picture.label, picture.split) for picture in self.pictures)

    def groups(self) -> Counter[str]:
        """Pictures in each group of near-duplicates."""
        return Counter(picture.group for picture in self.pictures)

    def few_test_pictures(self) -> dict[str, int]:
        """Classes whose accuracy cannot be judged well, and how many test pictures they have."""
        return few_pictures(self.pictures, "test")

    def reasons(self) -> Counter[str]:
        """Files set aside, by the code of the reason."""
        return Counter(row.reason.partition(":")[0] for row in self.quarantine)


def few_pictures(pictures: Sequence[Picture], split: str) -> dict[str, int]:
    """Return the classes whose accuracy in a split cannot be judged well, and how many pictures they have there."""
    counts = Counter(picture.label for picture in pictures if picture.split == split)
    labels = sorted({picture.label for picture in pictures})
    return {label: counts[label] for label in labels if counts[label] < FEW_PICTURES}


def write(prepared: Prepared, out: Path, moves_before: Sequence[Move] = ()) -> str:
    """Writes manifest.csv, quarantine.csv, moves.csv and summary.json (which alone knows where the pictures lie here).

    A relative root is taken from `out`, so that both can be moved together.

    A kill at any moment leaves a manifest that `read_sides` takes, the old one or the new one.

    Args:
        moves_before: moves that earlier runs listed in `out`, and that stay listed.

    Returns:
        The sha256 of manifest.csv.
    """
    out.mkdir(parents=True, exist_ok=True)
    manifest = _csv(Picture, prepared.pictures)
    digest = hashlib.sha256(manifest).hexdigest()
    if (out / "manifest.csv").exists():  # one that an older version wrote was not kept
        _keep(out, (out / "manifest.csv").read_bytes())
    _keep(out, manifest)
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
        "names": prepared.names,
        "feedback": prepared.feedback,
        "corrections": asdict(prepared.corrections) if prepared.corrections else None,
        "few_test_pictures": prepared.few_test_pictures(),
        "counts": {f"{label}/{split}": count for (label, split), count in sorted(prepared.counts().items())},
    }
    write_atomic(out / "summary.json", json.dumps(summary, indent=2).encode() + b"\n")
    write_atomic(out / "manifest.csv", manifest)
    return digest


@dataclass(frozen=True, slots=True)
class Manifest:
    """A manifest as read back: its pictures, where they lie on this machine, and its sha256.

    `names` gives a label's display name; a label that it lacks is its own.
    """

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
        root, wanted = Path(os.path.abspath(folder / summary["root"])), summary["manifest_sha256"]
        names = {str(label): str(name) for label, name in summary.get("names", {}).items()}
    except FileNotFoundError as error:
        raise UserError(f"{error.filename} is missing. Make it by: catsdogs prepare PICTURES --out {folder}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{folder}/summary.json is broken. Make it anew by catsdogs prepare.") from error
    digest = hashlib.sha256(raw).hexdigest()
    if digest != wanted and digest == summary.get("replaces"):
        raise UserError(f"catsdogs prepare was stopped before it had written {folder}/manifest.csv. Run it again.")
    if digest != wanted:
        raise UserError(f"{folder}/manifest.csv was changed after it was made. Make it anew by catsdogs prepare.")
    pictures = parse_pictures(raw)
    forget()
    if pictures and not any(exists(root / picture.path) for picture in pictures):
        raise UserError(f"The pictures are no longer in {root}: move them back, or run catsdogs prepare again.")
    return Manifest(root, pictures, digest, names, folder)


def earlier_name(sha256: str) -> str:
    """Return the name of the file in which a manifest is kept when another takes its place."""
    return f"manifest-{sha256[:16]}.csv"


def read_earlier(folder: Path, sha256: str) -> list[Picture]:
    """Read the pictures of a manifest that was written to the folder once, and may have been replaced since.

    Raises:
        UserError: it is missing or was changed.
    """
    path = folder / earlier_name(sha256)
    try:
        raw = path.read_bytes()
    except FileNotFoundError as error:
        raise UserError(f"{path}, an earlier manifest, is missing: put it back.") from error
    if hashlib.sha256(raw).hexdigest() != sha256:
        raise UserError(f"{path}, an earlier manifest, was changed after it was made: put it back as it was.")
    return parse_pictures(raw)


def _keep(out: Path, manifest: bytes) -> None:
    """Keep the manifest under a name of its own, where it stays when manifest.csv is replaced."""
    path = out / earlier_name(hashlib.sha256(manifest).hexdigest())
    if not path.exists() or path.read_bytes() != manifest:
        write_atomic(path, manifest)


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
    """Return the moves that moves.csv lists; none where it is missing or not ours."""
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
