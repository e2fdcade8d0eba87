"""A file of labels, in place of class folders: a CSV with the columns path and label, or lines of "path label"."""

import csv
import io
import os
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path

from handler.files import UserError
from training.data.class_names import label_of, split_of
from training.data.layout import Labelled

# Columns by the names that people give them.
COLUMNS = {
    "path": ("path", "file", "filename", "image"),
    "label": ("label", "class"),
    "split": ("split",),
}
Row = tuple[int, str, str, str]  # line, path, label, split


def read_label_file(file: Path, roots: Sequence[Path]) -> list[tuple[Labelled, Path]]:
    """Read which picture has which label.

    A CSV may have a column split with train, val or test. In lines of text, the last word is the label, or what
    comes after a tab.

    Args:
        file: the file; paths in it are relative to its folder, or to one of `roots`.

    Returns:
        Each picture, and the folder that its path is relative to.

    Raises:
        UserError: the file cannot be read, or a line names no picture, no label, or a picture that has one already.
    """
    try:
        text = file.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise UserError(f"{file} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{file} is not text in UTF-8. Save it as a CSV in UTF-8.") from error
    pictures: list[tuple[Labelled, Path]] = []
    lines: dict[Path, int] = {}
    for line, name, label, split in _rows(file, text):
        where = f"{file}, line {line}"
        if not name or not label:
            raise UserError(f"{where}: the {'path' if not name else 'label'} is empty.")
        side = split_of(split) if split else None
        if split and not side:
            raise UserError(f"{where}: {split} is no split. Write train, val or test.")
        path, root = _find(name, [file.parent, *roots], where)
        if path in lines:
            raise UserError(f"{where}: {name} has a label already, in line {lines[path]}. Take one of them out.")
        lines[path] = line
        pictures.append((Labelled(path, label, side), root))
    if not pictures:
        raise UserError(f"{file} names no picture. Write a line for each: its path and its label.")
    if len({label_of(picture.name) for picture, _ in pictures}) == len(pictures) > 2:
        raise UserError(
            f"{file}: each of the {len(pictures)} pictures has a label of its own, so nothing can be learnt. "
            "Is the right column named label?"
        )
    return pictures


def _rows(file: Path, text: str) -> Iterator[Row]:
    lines = text.splitlines()
    first = next((line for line in lines if line.strip()), "")
    for delimiter in ",;\t":
        header = [cell.strip().lower() for cell in next(csv.reader([first], delimiter=delimiter), [])]
        columns = {key: next((header.index(n) for n in names if n in header), None) for key, names in COLUMNS.items()}
        if columns["path"] is not None and columns["label"] is not None:
            yield from _csv_rows(file, text, delimiter, columns)
            return
    if file.suffix.lower() in (".csv", ".tsv"):
        raise UserError(f"{file}, line 1: the columns must be named path and label, not {first.strip()[:80]}.")
    for number, line in enumerate(lines, start=1):
        if line.strip() and not line.startswith("#"):
            # A label of two words needs a tab before it; a path may hold spaces.
            name, _, label = line.partition("\t") if "\t" in line else line.strip().rpartition(" ")
            yield number, (name or label).strip(), label.strip() if name else "", ""


def _csv_rows(file: Path, text: str, delimiter: str, columns: dict[str, int | None]) -> Iterator[Row]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        started = False
        for cells in reader:
            if any(cell.strip() for cell in cells):
                if started:
                    path, label, split = (
                        cells[column].strip() if column is not None and column < len(cells) else ""
                        for column in (columns["path"], columns["label"], columns["split"])
                    )
                    yield reader.line_num, path, label, split
                started = True
    except csv.Error as error:
        raise UserError(f"{file}, line {reader.line_num}: {error}.") from error


def _find(name: str, roots: Sequence[Path], where: str) -> tuple[Path, Path]:
    """Return the picture and the folder that its path is relative to."""
    # Files written on Windows have other separators, and macOS decomposes accents.
    spellings = list(
        dict.fromkeys(
            spelling
            for path in (name, name.replace("\\", "/"))
            for spelling in (path, unicodedata.normalize("NFC", path), unicodedata.normalize("NFD", path))
        )
    )
    for root in roots:
        for spelling in spellings:
            path = Path(spelling)
            if (root / path).is_file():
                base = path.parent if path.is_absolute() else root
                return Path(os.path.normpath(root / path)), Path(os.path.normpath(base))
    places = " and ".join(str(root) for root in dict.fromkeys(roots))
    raise UserError(
        f"{where}: there is no file {name} in {places}. Paths are relative to the file of labels, or to PICTURES; in a "
        "text file, a label of several words needs a tab before it."
    )
