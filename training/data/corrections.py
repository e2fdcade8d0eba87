"""Corrections of a data set: a CSV file of pictures to remove or to label otherwise, found by an audit.

The columns are sha256, action and reason. The action is `remove`, or `label:` and a class. Pictures are named by their
content, so that a correction holds wherever a copy lies, and the pictures themselves stay as they are.
"""

import csv
import hashlib
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass, fields, replace
from pathlib import Path

from common.review_csv import SHA256
from handler.files import UserError
from training.data.class_names import label_of
from training.data.layout import Layout
from training.data.scan import Quarantined, Scanned

REMOVE, LABEL = "remove", "label:"
CODE = "removed"
"""Code of the reason in quarantine.csv."""


@dataclass(frozen=True, slots=True)
class Correction:
    """One row of the file; its fields are the columns."""

    sha256: str
    action: str
    reason: str

    @property
    def label(self) -> str | None:
        """The class that the picture shows; None where it is to be removed."""
        return self.action.removeprefix(LABEL).strip() if self.action.startswith(LABEL) else None


COLUMNS = [field.name for field in fields(Correction)]


@dataclass(frozen=True, slots=True)
class Corrections:
    """A file of corrections: its name, its own sha256, and its rows by the pictures' sha256."""

    name: str
    sha256: str
    rows: Mapping[str, Correction]


@dataclass(frozen=True, slots=True)
class Applied:
    """The effect of a file of corrections.

    Attributes:
        file: name of the file.
        sha256: of the file.
        removed: pictures that were set aside.
        relabelled: pictures that have another label than their folder's.
        as_labelled: pictures that had the right label already.
        unmatched: rows whose sha256 no picture has.
    """

    file: str
    sha256: str
    removed: int
    relabelled: int
    as_labelled: int
    unmatched: int

    def sentence(self) -> str:
        """Return the effect as a sentence for people."""
        text = f"Corrections from {self.file}: {self.removed} pictures removed, {self.relabelled} labelled otherwise"
        text += f", {self.as_labelled} had the right label already" if self.as_labelled else ""
        if self.unmatched == 0:
            return f"{text}."
        return f"{text}. Its rows that match no picture: {self.unmatched}."


def read_corrections(file: Path) -> Corrections:
    """Read and check a file of corrections.

    Raises:
        UserError: the file cannot be read, or a row has no sha256, an unknown action, no reason, or the sha256 of
            another row.
    """
    try:
        raw = file.read_bytes()
        text = raw.decode("utf-8-sig")
    except OSError as error:
        raise UserError(f"{file} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{file} is not text in UTF-8. Save it as a CSV in UTF-8.") from error
    rows: dict[str, Correction] = {}
    lines: dict[str, int] = {}
    for line, row in _rows(file, text):
        _check(row, f"{file}, line {line}")
        if row.sha256 in rows:
            raise UserError(
                f"{file}, line {line}: the picture {row.sha256} has a row already, line {lines[row.sha256]}. "
                "Take one of them out."
            )
        rows[row.sha256], lines[row.sha256] = row, line
    return Corrections(file.name, hashlib.sha256(raw).hexdigest(), rows)


def as_csv(rows: Sequence[Correction]) -> bytes:
    """Return the file of these rows."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(astuple(row) for row in rows)
    return buffer.getvalue().encode()


def apply_corrections(
    corrections: Corrections, results: Sequence[Scanned | Quarantined], layout: Layout
) -> tuple[dict[Path, str], Applied]:
    """Give pictures their right labels in `layout`, and return which are to be set aside.

    Returns:
        The reasons by path of the pictures to be set aside, and the effect.

    Raises:
        UserError: a label is no class of the pictures, or a class has no picture left.
    """
    names = {file.label: file.name for file in layout.files.values()}
    for row in corrections.rows.values():
        if row.label is not None and label_of(row.label) not in names:
            known = ", ".join(sorted(names)[:10])
            raise UserError(
                f"{corrections.name}: the picture {row.sha256} is labelled {row.label}, which is no class of the "
                f"pictures ({known})."
            )
    removed: dict[Path, str] = {}
    before = {layout.files[picture.path].label for picture in results if isinstance(picture, Scanned)}
    matched, relabelled, as_labelled = set(), 0, 0
    for picture in results:
        correction = corrections.rows.get(picture.sha256) if isinstance(picture, Scanned) else None
        if correction is None or isinstance(picture, Quarantined):
            continue
        matched.add(picture.sha256)
        file = layout.files[picture.path]
        if correction.label is None:
            removed[picture.path] = f"{CODE}: {correction.reason}"
        elif label_of(correction.label) == file.label:
            as_labelled += 1
        else:
            layout.files[picture.path] = replace(file, name=names[label_of(correction.label)])
            relabelled += 1
    left = {
        layout.files[picture.path].label
        for picture in results
        if isinstance(picture, Scanned) and picture.path not in removed
    }
    if empty := sorted(before - left):
        raise UserError(
            f"{corrections.name} leaves no picture of the class {empty[0]}: each is removed or labelled otherwise. "
            "Take rows out of the file, or the class folder away."
        )
    unmatched = len(corrections.rows) - len(matched)
    applied = Applied(corrections.name, corrections.sha256, len(removed), relabelled, as_labelled, unmatched)
    return removed, applied


def _rows(file: Path, text: str) -> Iterator[tuple[int, Correction]]:
    reader = csv.DictReader(io.StringIO(text, newline=""))
    try:
        header = [name.strip().lower() for name in reader.fieldnames or []]
        if header[: len(COLUMNS)] != COLUMNS:
            found = ", ".join(header)[:80] or "an empty line"
            raise UserError(f"{file}, line 1: the columns must be {', '.join(COLUMNS)}, not {found}.")
        reader.fieldnames = header
        for row in reader:
            yield reader.line_num, Correction(*((row[name] or "").strip() for name in COLUMNS))
    except csv.Error as error:
        raise UserError(f"{file}, line {reader.line_num}: {error}.") from error


def _check(row: Correction, where: str) -> None:
    if not SHA256.fullmatch(row.sha256):
        raise UserError(f"{where}: {row.sha256[:80]!r} is no sha256: write its 64 digits in lower case.")
    if row.action != REMOVE and not row.label:
        raise UserError(f"{where}: the action {row.action[:80]!r} is unknown. Write {REMOVE}, or {LABEL} and a class.")
    if not row.reason:
        raise UserError(f"{where}: the reason is empty. Say why the picture is corrected.")
