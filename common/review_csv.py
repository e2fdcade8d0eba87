"""review.csv: the pictures that users gave a label to, and what a person decided on each of them."""

import csv
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass, fields

NAME = "review.csv"
ACCEPT, REJECT = "accept", "reject"
OTHER = "other"
"""The label of a picture that shows none of the classes."""
MAX_LABEL = 64
ID = re.compile(r"[0-9a-f]{32}")
SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Reviewed:
    """One row; its fields are the columns."""

    id: str
    day: str
    sha256: str
    picture: str
    """Path relative to the folder of review.csv; empty where there is no picture that could be verified."""
    predicted: str
    probability: str
    label: str
    """The label that the user gave."""
    model_version: str
    conflict: str = ""
    """All labels that users gave to this picture, where they differ."""
    decision: str = ""
    """`accept`, `reject`, a corrected label, or nothing yet."""

    @property
    def truth(self) -> str | None:
        """The label after review; None where it is not decided, or rejected."""
        if self.decision in ("", REJECT):
            return None
        return self.label if self.decision == ACCEPT else self.decision


COLUMNS = [field.name for field in fields(Reviewed)]


def is_label(text: object) -> bool:
    """Tell whether a label can stand in a table and on a page without harm.

    A spreadsheet computes what begins as a formula.
    """
    return (
        isinstance(text, str)
        and 0 < len(text) <= MAX_LABEL
        and text.isprintable()
        and text == text.strip()
        and text[0] not in "=+-@"
        and not set(text) & set('<>"&\\/`{};')
    )


def parse(raw: bytes) -> list[tuple[int, Reviewed]]:
    """Return the rows with their lines.

    Raises:
        ValueError: the text is not such a file; the message says which line and why.
    """
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError("it is not text in UTF-8. Save it as a CSV in UTF-8") from None
    # A spreadsheet of a country with decimal commas separates by semicolons.
    first = next(iter(text.splitlines()), "")
    delimiter = ";" if first.count(";") > first.count(",") else ","
    try:
        rows = list(_rows(csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter)))
    except csv.Error as error:
        raise ValueError(str(error)) from error
    lines: dict[str, int] = {}
    for line, row in rows:
        if row.id in lines:
            raise ValueError(f"line {line}: {row.id} is already in line {lines[row.id]}. Remove one of them")
        lines[row.id] = line
    return rows


def _rows(reader: "csv.DictReader[str]") -> Iterator[tuple[int, Reviewed]]:
    missing = [column for column in COLUMNS if column not in (reader.fieldnames or [])]
    if missing:
        raise ValueError(f"line 1: the column {missing[0]} is missing. Make the file by: catsdogs feedback review")
    for cells in reader:
        row = Reviewed(**{column: (cells[column] or "").strip() for column in COLUMNS})
        where = f"line {reader.line_num}"
        if not ID.fullmatch(row.id) or not SHA256.fullmatch(row.sha256):
            raise ValueError(f"{where}: id must have 32 digits, and sha256 64. Do not change these columns")
        decision = row.decision.lower() if row.decision.lower() in (ACCEPT, REJECT) else row.decision
        for label in (row.label, *([decision] if decision else [])):
            if not is_label(label):
                raise ValueError(f"{where}: {label[:MAX_LABEL]!r} is not a label: write accept, reject or a label")
        yield reader.line_num, Reviewed(**{**_values(row), "decision": decision})


def _values(row: Reviewed) -> dict[str, str]:
    return dict(zip(COLUMNS, astuple(row), strict=True))


def text_of(rows: Sequence[Reviewed]) -> bytes:
    """Return the file with these rows."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(astuple(row) for row in rows)
    return buffer.getvalue().encode()
