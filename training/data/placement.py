"""Groups of near-duplicates, each placed on a side of the split.

The user's own split comes first, then the side in the previous manifest, then content.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from training.data.layout import Labelled
from training.data.own_split import Crossing, parts_left, side_of
from training.data.scan import Scanned
from training.data.split import SPLITS, Group, Ratios, assign


@dataclass(frozen=True, slots=True)
class Placed:
    """A picture with its group and its side, and why it is not where the previous manifest had it."""

    picture: Scanned
    group: str
    split: str
    why: str


@dataclass(frozen=True, slots=True)
class _Part:
    """Pictures of one group that share a side: all of them, unless the user keeps near-duplicates apart."""

    name: str
    pictures: list[Scanned]
    held: str | None = None
    why: str = ""


def place(
    groups: Sequence[list[Scanned]],
    files: Mapping[Path, Labelled],
    root: Path,
    ratios: Ratios,
    given: Sequence[str],
    previous: Mapping[str, str],
    keep_near_duplicates: bool,
) -> tuple[list[Placed], list[Crossing]]:
    """Place each picture.

    Args:
        files: by path, with the sides that the user chose.
        root: folder that paths are told relative to.
        given: sides that the user filled; none where the user made no split.
        previous: side of each sha256 in an earlier manifest.
        keep_near_duplicates: leave near-duplicates on different sides of the user's split. Else those on the side
            nearest to test are placed, and the others are not.

    Returns:
        The pictures that are placed, and near-duplicates on different sides of the user's split.
    """
    parts: list[_Part] = []
    crossings: list[Crossing] = []
    for group in groups:
        if given:
            by_side = _by_side(group, files)
            parts += _parts_of_own_split(group, by_side, keep_near_duplicates)
            crossings += _crossings(by_side, root)
        else:
            parts.append(_part(group, files, root))
    sides = [_before(part, given, previous) for part in parts]
    labels = [frozenset(files[picture.path].label for picture in part.pictures) for part in parts]
    # An old picture in two sides is tested: nothing that was tested is trained on.
    old = ["test" if len(before) > 1 else next(iter(before), None) for before in sides]
    wanted = [Group(part.name, some, part.held, side) for part, some, side in zip(parts, labels, old, strict=True)]
    splits = assign(wanted, parts_left(given, ratios) if given else ratios)
    placed = []
    for part, before, split in zip(parts, sides, splits, strict=True):
        stood = " and ".join(side for side in SPLITS if side in before)
        why = part.why or f"near-duplicates that stood in {stood} became one group"
        placed += [Placed(picture, part.name, split, why) for picture in part.pictures]
    return placed, crossings


def _name(group: Sequence[Scanned]) -> str:
    return min(picture.sha256 for picture in group)[:16]


def _part(group: list[Scanned], files: Mapping[Path, Labelled], root: Path) -> _Part:
    """Hold the whole group for test where a picture of it is for evaluation only."""
    for picture in group:
        if files[picture.path].evaluation_only:
            why = f"shares a group with {picture.path.relative_to(root).as_posix()}, which is for evaluation only"
            return _Part(_name(group), group, "test", why)
    return _Part(_name(group), group)


def _by_side(group: Sequence[Scanned], files: Mapping[Path, Labelled]) -> dict[str, list[Scanned]]:
    sides: dict[str, list[Scanned]] = {}
    for picture in group:
        sides.setdefault(side_of(files[picture.path]), []).append(picture)
    return {split: sides[split] for split in SPLITS if split in sides}


def _parts_of_own_split(group: Sequence[Scanned], by_side: Mapping[str, list[Scanned]], keep: bool) -> Iterator[_Part]:
    *_, last = by_side
    for side, pictures in by_side.items():
        if keep or side == last:
            # Pictures for training may still be taken for a side that the user left out, if no twin stands elsewhere.
            held = None if list(by_side) == ["train"] else side
            yield _Part(_name(group), pictures, held, f"stands in your own split for {side}")


def _crossings(by_side: Mapping[str, list[Scanned]], root: Path) -> Iterator[Crossing]:
    *others, last = by_side
    twin = by_side[last][0].path.relative_to(root).as_posix()
    for side in others:
        for picture in by_side[side]:
            yield Crossing(picture.path.relative_to(root).as_posix(), side, twin, last)


def _before(part: _Part, given: Sequence[str], previous: Mapping[str, str]) -> set[str]:
    """Return the sides on which the part's pictures stood and may still stand."""
    before = {previous[picture.sha256] for picture in part.pictures if picture.sha256 in previous}
    return before - (set(given) - {"train"})
