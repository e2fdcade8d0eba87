"""Pictures that users gave a label to and that a person accepted, from the review.csv of `catsdogs feedback review`."""

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from common import review_csv
from common.review_csv import OTHER, REJECT, Reviewed
from handler.files import UserError, sha256_file
from training.data.class_names import label_of
from training.data.layout import Labelled, Layout


@dataclass(frozen=True, slots=True)
class Accepted:
    """A row that was accepted: its picture, its label after review, and where it stands."""

    path: Path
    label: str
    sha256: str
    where: str


def add_feedback(layout: Layout, folders: Sequence[Path]) -> list[Path]:
    """Add the accepted pictures to those of the class folders.

    They are split as all others are. Where the user made a split, they are for training, and near-duplicates of
    pictures on other sides are set aside as ever.

    Args:
        layout: the pictures so far, whose classes are the ones there are.
        folders: of review.csv.

    Returns:
        The pictures' paths.

    Raises:
        UserError: a file cannot be read, a label is no class, or a picture is missing or not the one reviewed.
    """
    names = {file.label: file.name for file in layout.files.values()}
    split = "train" if any(file.split == "train" for file in layout.files.values()) else None
    labels: dict[str, Accepted] = {}
    added: list[Path] = []
    for folder in folders:
        file = folder / review_csv.NAME
        rows = _read(file)
        counts: Counter[str] = Counter()
        taken: Counter[str] = Counter()
        for picture in _accepted(file, rows, counts):
            label = label_of(picture.label)
            if label not in names:
                known = ", ".join(sorted(names)[:10])
                raise UserError(f"{picture.where}: {picture.label} is not a class of the pictures ({known}).")
            first = labels.setdefault(picture.sha256, picture)
            if label_of(first.label) != label:
                raise UserError(
                    f"{picture.where}: the picture is accepted as {picture.label}, but in {first.where} as "
                    f"{first.label}. Reject one of them."
                )
            if first is not picture:
                counts["same picture again"] += 1
                continue
            _check(picture)
            _add(layout, picture, names[label], split)
            added.append(picture.path)
            taken[names[label]] += 1
        layout.notes.append(_sentence(file, taken, counts))
    return added


def check_place(folders: Sequence[Path], searched: Sequence[Path]) -> None:
    """Refuse a review among the class folders, which would be taken for a class."""
    for folder in folders:
        for tree in searched:
            if folder.resolve().is_relative_to(tree.resolve()):
                raise UserError(
                    f"{folder} is inside {tree}, whose folders are taken as classes. Move it to another place."
                )


def _read(file: Path) -> list[tuple[int, Reviewed]]:
    try:
        return review_csv.parse(file.read_bytes())
    except FileNotFoundError:
        raise UserError(f"There is no {file}. Make it by: catsdogs feedback review PLACE --out {file.parent}") from None
    except OSError as error:
        raise UserError(f"{file} cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise UserError(f"{file}: {error}.") from error


def _accepted(file: Path, rows: Sequence[tuple[int, Reviewed]], counts: Counter[str]) -> Iterator[Accepted]:
    """Yield the accepted rows, and count the others by the reason."""
    for line, row in rows:
        truth = row.truth
        if truth is None:
            counts["rejected" if row.decision == REJECT else "not decided"] += 1
        elif truth == OTHER:
            counts["other"] += 1
        elif not row.picture:
            counts["without a picture"] += 1
        else:
            yield Accepted(Path(os.path.abspath(file.parent / row.picture)), truth, row.sha256, f"{file}, line {line}")


def _check(picture: Accepted) -> None:
    """Refuse a picture that is not the one that was looked at."""
    if not picture.path.is_file():
        raise UserError(f"{picture.where}: there is no {picture.path}. Restore it, or run catsdogs feedback review.")
    sha256 = sha256_file(picture.path)
    if sha256 != picture.sha256:
        raise UserError(
            f"{picture.where}: {picture.path} is not the picture that was reviewed: its sha256 is {sha256}. "
            "Restore the right picture, or reject the row."
        )


def _add(layout: Layout, picture: Accepted, name: str, split: str | None) -> None:
    """Add a picture, unless it lies in a class folder already."""
    there = layout.files.get(picture.path)
    if there is None:
        layout.add(Labelled(picture.path, name, split))
    elif there.label != label_of(name):
        raise UserError(
            f"{picture.where}: {picture.path} is accepted as {name}, but its class folder is {there.label}. "
            "Move it to the right class folder, or reject the row."
        )


def _sentence(file: Path, taken: Counter[str], counts: Counter[str]) -> str:
    by_class = ", ".join(f"{name} {count}" for name, count in sorted(taken.items()))
    reasons = ", ".join(f"{reason} {count}" for reason, count in sorted(counts.items()))
    number = f"{taken.total()} accepted pictures{f' ({by_class})' if by_class else ''}"
    return f"Feedback: {number} from {file}." + (f" Left out: {reasons}." if reasons else "")
