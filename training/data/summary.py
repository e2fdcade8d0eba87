"""The result of `prepare` for people: a table of classes and splits, and sentences."""

import io
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from training.data.manifest import FEW_PICTURES, Prepared
from training.data.split import SPLITS

# Of so few pictures, whole groups on a side make shares differ by more than so much from the parts that were asked for.
FEW, MAX_APART = 100, 0.05
# Names in one sentence.
MAX_NAMES = 8


def table(prepared: Prepared) -> Table:
    """Return pictures per class and split, and the share of each split."""
    counts, total = prepared.counts(), len(prepared.pictures)
    result = Table("class", *SPLITS, title=f"{total} pictures in {len(prepared.classes)} classes")
    for label in prepared.classes:
        result.add_row(Text(label), *(str(counts[label, split]) for split in SPLITS))
    result.add_section()
    sums = [sum(counts[label, split] for label in prepared.classes) for split in SPLITS]
    result.add_row("all", *map(str, sums))
    result.add_row("share", *(f"{100 * count / total:.1f} %" for count in sums))
    return result


def sentences(
    prepared: Prepared, ratios: Sequence[int], seconds: float, kept_near_duplicates: bool = False
) -> list[str]:
    """Return what the table does not tell.

    Args:
        ratios: parts for train, val and test that were asked for.
        seconds: that it all took.
        kept_near_duplicates: those on different sides of the user's split were left there.
    """
    lines = [*prepared.notes, _twins(prepared, kept_near_duplicates)]
    if prepared.crossings:
        lines.append(_crossings(prepared, kept_near_duplicates))
    if prepared.known:
        lines.append(_moves(prepared))
    lines += _rounded(prepared, ratios)
    lines += _missing(prepared, ratios)
    lines += few_pictures(prepared.few_test_pictures(), "test")
    files = len(prepared.pictures) + len(prepared.quarantine)
    lines.append(f"{prepared.decoded} of {files} files had to be decoded; {seconds:.1f} s in all.")
    return lines


def few_pictures(counts: Mapping[str, int], split: str) -> list[str]:
    """Return a sentence that names the classes with few pictures in a split, where there are some."""
    if not counts:
        return []
    named = _listed([f"{label} ({count})" for label, count in counts.items()])
    return [f"Fewer than {FEW_PICTURES} {split} pictures, so the accuracy of the class is uncertain: {named}."]


def set_aside(prepared: Prepared) -> str:
    """Return how many files cannot be used, by reason."""
    reasons = ", ".join(f"{code} {count}" for code, count in sorted(prepared.reasons().items()))
    return f"Cannot be used: {len(prepared.quarantine)}. By reason: {reasons}."


def as_text(table: Table, lines: Sequence[str]) -> str:
    """Return the table and the sentences as they stand in summary.txt."""
    buffer = io.StringIO()
    Console(file=buffer, width=100, markup=False, emoji=False).print(table)
    return "".join([buffer.getvalue(), *(f"{line}\n" for line in lines)])


def _twins(prepared: Prepared, kept_near_duplicates: bool) -> str:
    twins = [count for count in prepared.groups().values() if count > 1]
    if not twins:
        return f"No {'other ' if prepared.crossings else ''}picture is a near-duplicate of another."
    where = "" if kept_near_duplicates and prepared.crossings else ", each group in one split"
    return f"{sum(twins)} pictures are near-duplicates of each other, in {len(twins)} groups{where}."


def _crossings(prepared: Prepared, kept: bool) -> str:
    fate = "They stay there." if kept else "They were set aside; --keep-near-duplicates keeps them."
    count, example = len(prepared.crossings), prepared.crossings[0]
    return f"Near-duplicates in different splits: {count}, for example {example}. {fate}"


def _moves(prepared: Prepared) -> str:
    sides = {move.after for move in prepared.moves}
    goal = sides.pop() if len(sides) == 1 else "another split" if sides else "test"
    return (
        f"{prepared.known} pictures were in the previous manifest; {prepared.known - len(prepared.moves)} stay "
        f"where they were, {len(prepared.moves)} go to {goal} (moves.csv says why), "
        f"{len(prepared.pictures) - prepared.known} are new."
    )


def _rounded(prepared: Prepared, ratios: Sequence[int]) -> Iterator[str]:
    """Yield how many pictures each split got, where so few cannot have the parts that were asked for."""
    counts, total = Counter(picture.split for picture in prepared.pictures), len(prepared.pictures)
    parts = [part / sum(ratios) for part in ratios]
    apart = max(abs(counts[split] / total - part) for split, part in zip(SPLITS, parts, strict=True))
    if total < FEW and apart > MAX_APART and not prepared.known:
        named = ", ".join(f"{split} {counts[split]}" for split in SPLITS)
        yield f"{total} pictures cannot be split exactly {'/'.join(map(str, ratios))}: {named}."


def _missing(prepared: Prepared, ratios: Sequence[int]) -> Iterator[str]:
    """Yield which classes lack a side, the same sides in one sentence."""
    counts = prepared.counts()
    filled = {split for _, split in counts}
    labels: dict[str, list[str]] = {}
    for label in prepared.classes:
        sides = [
            split
            for split, part in zip(SPLITS, ratios, strict=True)
            if (part or split in filled) and not counts[label, split]
        ]
        if sides:
            labels.setdefault(" and ".join(sides), []).append(label)
    for sides_text, some in labels.items():
        yield f"No picture in {sides_text} of {_listed(some)}: add some that differ from each other."


def _listed(names: Sequence[str]) -> str:
    more = len(names) - MAX_NAMES
    return ", ".join(names[:MAX_NAMES]) + (f" and {more} more" if more > 0 else "")
