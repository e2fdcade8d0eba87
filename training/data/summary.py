"""What `prepare` found, as a person reads it: a table of classes and splits, and sentences."""

import io
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from training.data.manifest import SPLITS, Prepared


def table(prepared: Prepared) -> Table:
    """Pictures per class and split, and the share of each split."""
    counts, total = prepared.counts(), len(prepared.pictures)
    found = Table("class", *SPLITS, title=f"{total} pictures in {len(prepared.classes)} classes")
    for label in prepared.classes:
        found.add_row(Text(label), *(str(counts[label, split]) for split in SPLITS))
    found.add_section()
    sums = [sum(counts[label, split] for label in prepared.classes) for split in SPLITS]
    found.add_row("all", *map(str, sums))
    found.add_row("share", *(f"{100 * count / total:.1f} %" for count in sums))
    return found


def sentences(prepared: Prepared, ratios: Sequence[int], seconds: float) -> list[str]:
    """What the table does not tell.

    Args:
        ratios: parts for train, val and test that were asked for.
        seconds: that it all took.
    """
    groups = prepared.groups()
    twins = [count for count in groups.values() if count > 1]
    found = [
        f"{len(groups)} groups, each on one side; {len(twins)} of them hold {sum(twins)} pictures that are "
        "near-duplicates of each other."
    ]
    if prepared.known:
        found.append(
            f"{prepared.known} pictures were in the previous manifest; {prepared.known - len(prepared.moves)} stay "
            f"where they were, {len(prepared.moves)} go to test (moves.csv says why), "
            f"{len(prepared.pictures) - prepared.known} are new."
        )
    counts = prepared.counts()
    for label in prepared.classes:
        missing = [split for split, part in zip(SPLITS, ratios, strict=True) if part and not counts[label, split]]
        if missing:
            found.append(f"Class {label} has no picture in {' and '.join(missing)}: it has too few groups.")
    files = len(prepared.pictures) + len(prepared.quarantine)
    found.append(f"{prepared.decoded} of {files} files had to be decoded; {seconds:.1f} s in all.")
    return found


def set_aside(prepared: Prepared) -> str:
    """How many files cannot be used, by reason."""
    reasons = ", ".join(f"{code} {count}" for code, count in sorted(prepared.reasons().items()))
    return f"Cannot be used: {len(prepared.quarantine)}. By reason: {reasons}."


def as_text(found: Table, lines: Sequence[str]) -> str:
    """The table and the sentences as they stand in summary.txt."""
    buffer = io.StringIO()
    Console(file=buffer, width=100, markup=False, emoji=False).print(found)
    return "".join([buffer.getvalue(), *(f"{line}\n" for line in lines)])
