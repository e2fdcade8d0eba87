"""The summary of a complete shard: its parts, and its predictions by class and by error."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from handler.files import UserError


@dataclass(slots=True)
class Summary:
    """Counts of rows."""

    parts: dict[str, int] = field(default_factory=dict)
    """Number of rows by part."""
    classes: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    skipped: int | None = 0
    """Files that are no pictures; None where a shard was resumed, since they have no rows."""

    @property
    def rows(self) -> int:
        return sum(self.parts.values())

    def count(self, part: str, rows: Iterable[Mapping[str, Any]]) -> None:
        """Count the rows of a part."""
        number = 0
        for row in rows:
            number += 1
            if "label" in row:
                self.classes[row["label"]] += 1
            else:
                self.errors[row["code"]] += 1
        self.parts[part] = number

    def skip(self, count: int) -> None:
        if self.skipped is not None:
            self.skipped += count

    def add(self, other: "Summary") -> None:
        self.parts |= other.parts
        self.classes += other.classes
        self.errors += other.errors
        both_known = self.skipped is not None and other.skipped is not None
        self.skipped = (self.skipped or 0) + (other.skipped or 0) if both_known else None

    def words(self) -> str:
        """Return the counts, for people."""
        parts = [f"{self.rows:,} pictures"]
        if self.classes:
            parts.append(", ".join(f"{name} {count:,}" for name, count in self.classes.most_common(20)))
        if self.errors:
            listed = ", ".join(f"{code} {count:,}" for code, count in self.errors.most_common())
            parts.append(f"{self.errors.total():,} without a prediction ({listed})")
        if self.skipped:
            parts.append(f"{self.skipped:,} files skipped that are no pictures")
        return "; ".join(parts)

    def document(self, facts: Mapping[str, Any]) -> bytes:
        """Return the summary as JSON, with facts about the shard."""
        document = {
            **facts,
            "pictures": self.rows,
            "classes": dict(self.classes),
            "errors": dict(self.errors),
            "skipped": self.skipped,
            "parts": self.parts,
        }
        return json.dumps(document, indent=1).encode() + b"\n"


def read_summary(name: str, data: bytes) -> tuple[Summary, dict[str, Any]]:
    """Return a summary, and the facts about its shard.

    Raises:
        UserError: the file is none.
    """
    try:
        document = json.loads(data)
        summary = Summary(
            dict(document.pop("parts")),
            Counter(document.pop("classes")),
            Counter(document.pop("errors")),
            document.pop("skipped"),
        )
        return summary, document
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{name} is not a summary of a shard: {error}. Remove it, and predict that shard again."
        ) from error
