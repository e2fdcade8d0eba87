"""Trees of class folders -> pictures with labels and sides of the split, and what is set aside.

A group of near-duplicates has one name, the smallest sha256 in it, and one side of the split (training/data/split.py).
So a photograph's smaller twin is never trained on while the photograph is tested. Where an earlier manifest is given,
pictures stay where it has them; where the user made a split, it is kept (training/data/own_split.py).
"""

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from handler.files import UserError
from training.data.corrections import apply_corrections, read_corrections
from training.data.duplicates import group_twins
from training.data.feedback import add_feedback
from training.data.label_file import read_label_file
from training.data.labels import usable
from training.data.layout import Layout, Root, read_layout
from training.data.manifest import Move, Picture, Prepared
from training.data.own_split import describe, sides_given
from training.data.placement import Placed, place
from training.data.scan import Quarantined, Scanned, scan
from training.data.sets.published import Published, read_published
from training.data.split import Ratios


def prepare(
    folders: Sequence[Path],
    evaluation_only: Sequence[Path] = (),
    ratios: Ratios = (80, 10, 10),
    progress: Callable[[int, int], None] = lambda done, total: None,
    *,
    previous: Mapping[str, str] | None = None,
    kept: Path | None = None,
    own_split: Mapping[str, Sequence[Path]] | None = None,
    labels: Path | None = None,
    classes_at_top: bool = False,
    keep_near_duplicates: bool = False,
    feedback: Sequence[Path] = (),
    species: bool = False,
    official_split: bool = False,
    corrections: Path | None = None,
) -> Prepared:
    """Scan, group and split pictures.

    Args:
        folders: trees of class folders, see training/data/layout.py.
        evaluation_only: trees whose pictures, and whatever shares a group with one, are `test`.
        ratios: parts for train, val and test.
        progress: called with files done and files in all.
        previous: side of each sha256 in an earlier manifest. A group stays on the side of its old members, new
            pictures join them; where they stood on several sides, the group goes to `test`.
        kept: file that keeps the scan's results for the next run, see `scan`.
        own_split: trees of class folders for sides of the split that the user made.
        labels: file that gives the pictures' labels instead of class folders; `folders` are where they may lie.
        classes_at_top: the folders directly below `folders` are classes, whatever they hold.
        keep_near_duplicates: leave near-duplicates on different sides of the user's split.
        feedback: folders of review.csv, whose accepted pictures are added.
        species: Oxford-IIIT Pet's classes are cat and dog instead of the breeds.
        official_split: keep the sides that Oxford-IIIT Pet and CIFAR10 are published with.
        corrections: file of pictures to remove or to label otherwise, see training/data/corrections.py. The other
            pictures keep their sides.

    Raises:
        UserError: a folder is missing, holds nothing or can be read in two ways, a class is missing, empty or of one
            picture, or a correction is wrong.
    """
    if min(ratios) < 0 or sum(ratios) == 0:
        raise UserError(f"The parts of the split must be 0 or more, and one of them more: not {ratios}.")
    wanted = read_corrections(corrections) if corrections else None
    layout, places = _read_layout(
        folders, evaluation_only, own_split or {}, labels, classes_at_top, species, official_split
    )
    from_feedback = set(add_feedback(layout, [_absolute(folder) for folder in feedback]))
    root = Path(os.path.commonpath([*places, *(path.parent for path in from_feedback)]))
    given, previous = sides_given(layout.files.values()), previous or {}
    results, decoded = scan(sorted(layout.files), kept, progress)
    as_found = dict(layout.files)
    removed, applied = apply_corrections(wanted, results, layout) if wanted else ({}, None)
    scanned, quarantine = usable([row for row in results if Path(row.path) not in removed], layout, root)
    # Removed pictures are placed, too, and then left out, and all by the labels of their folders: so the others keep
    # their groups and sides.
    groups = _groups(scanned, [row for row in results if isinstance(row, Scanned) and row.path in removed])
    placed, crossings = place(groups, as_found, root, ratios, given, previous, keep_near_duplicates)
    placed = [row for row in placed if row.picture.path not in removed]
    crossings = sorted((row for row in crossings if root / row.path not in removed), key=lambda row: row.path)
    quarantine += [Quarantined(path.relative_to(root).as_posix(), reason) for path, reason in removed.items()]
    if not keep_near_duplicates:
        quarantine += [Quarantined(row.path, row.reason) for row in crossings]
    pictures, moves = _rows(placed, layout, root, previous)
    return Prepared(
        root,
        pictures,
        sorted(quarantine, key=lambda row: row.path),
        moves,
        sum(picture.sha256 in previous for picture in pictures),
        decoded,
        layout.display_names(),
        [
            *layout.notes,
            *([describe(given, ratios)] if given else []),
            *([applied.sentence()] if applied else []),
        ],
        crossings,
        [picture.path for picture in pictures if root / picture.path in from_feedback],
        applied,
    )


def _groups(usable: Sequence[Scanned], removed: Sequence[Scanned]) -> list[list[Scanned]]:
    """Return the groups of near-duplicates."""
    scanned = sorted([*usable, *removed], key=lambda picture: picture.path) if removed else usable
    groups: dict[int, list[Scanned]] = {}
    for picture, twin in zip(scanned, group_twins([picture.dhash for picture in scanned]), strict=True):
        groups.setdefault(twin, []).append(picture)
    return list(groups.values())


def _rows(
    placed: Sequence[Placed], layout: Layout, root: Path, previous: Mapping[str, str]
) -> tuple[list[Picture], list[Move]]:
    """Return the rows of manifest.csv and of moves.csv, by path."""
    pictures, moves = [], []
    for row in placed:
        scanned, path = row.picture, row.picture.path.relative_to(root).as_posix()
        label = layout.files[scanned.path].label
        pictures.append(Picture(path, label, row.split, scanned.sha256, row.group, scanned.width, scanned.height))
        before = previous.get(scanned.sha256, row.split)
        if before != row.split:
            moves.append(Move(scanned.sha256, path, before, row.split, row.why))
    return sorted(pictures, key=lambda picture: picture.path), sorted(moves, key=lambda move: move.path)


def _read_layout(
    folders: Sequence[Path],
    evaluation_only: Sequence[Path],
    own_split: Mapping[str, Sequence[Path]],
    labels: Path | None,
    classes_at_top: bool,
    species: bool,
    official_split: bool,
) -> tuple[Layout, list[Path]]:
    """Return which file has which label, and the folders in which they lie."""
    roots = [Root(_absolute(folder)) for folder in folders] if labels is None else []
    roots += [Root(_absolute(folder), split) for split, some in own_split.items() for folder in some]
    roots += [Root(_absolute(folder), evaluation_only=True) for folder in evaluation_only]
    if classes_at_top and (species or official_split):
        raise UserError("--classes-at-top reads folders, not lists: leave it out, or --species and --official-split.")
    published = Published(others=roots) if classes_at_top else read_published(roots, species, official_split)
    layout = read_layout(published.others, classes_at_top)
    layout.notes += published.notes
    for file in published.pictures:
        layout.add(file)
    places = [*(root.path for root in published.others), *published.folders]
    if labels is not None:
        for file, folder in read_label_file(_absolute(labels), [_absolute(folder) for folder in folders]):
            layout.add(file)
            places.append(folder)
    return layout, places


def _absolute(path: Path) -> Path:
    return Path(os.path.abspath(path))


def check_out(out: Path, folders: Sequence[Path]) -> None:
    """Refuse a manifest among the pictures: the next run would take contact sheets, too, for a class."""
    for folder in folders:
        if out.resolve().is_relative_to(folder.resolve()):
            raise UserError(f"{out} lies inside {folder}, which is searched for pictures. Name another --out.")
