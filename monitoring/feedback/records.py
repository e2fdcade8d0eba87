"""All records of a place, and a line for each that cannot be read."""

from collections.abc import Callable
from dataclasses import dataclass

from common.text import printable
from handler.files import UserError
from monitoring.feedback.place import Place, Unreadable
from monitoring.feedback.record import MAX_BYTES, Record, parse

Say = Callable[[str], None]
MAX_RECORDS = 200_000


@dataclass(frozen=True, slots=True)
class Read:
    """The records by day and id, and how many could not be read."""

    records: list[Record]
    broken: int


def read_records(place: Place, say: Say) -> Read:
    """Read every record.

    Args:
        say: told in a line of each record that cannot be read.

    Raises:
        UserError: there are too many of them, or none at all.
    """
    records: list[Record] = []
    days: dict[str, str] = {}
    broken = 0
    for number, entry in enumerate(place.entries(), start=1):
        if number > MAX_RECORDS:
            raise UserError(f"There are more than {MAX_RECORDS:,} records. Move the oldest days to another place.")
        try:
            if entry.id in days:
                raise Unreadable(f"a record of {days[entry.id]} has the same id")
            records.append(parse(place.read(entry.day, f"{entry.id}.json", MAX_BYTES), entry.id, entry.day))
            days[entry.id] = entry.day
        except (Unreadable, ValueError) as error:
            broken += 1
            say(f"{entry.day}/{entry.id}.json is left out: {printable(str(error), 200)}.")
    if not records and not broken:
        raise UserError(
            "There is no feedback in this place. Records are files DAY/ID.json: a folder such as 2026-11-29, and an "
            "id of 32 hexadecimal digits. Name the folder or prefix that the server stores feedback in."
        )
    return Read(records, broken)


def conflicts(records: list[Record]) -> dict[str, list[str]]:
    """Return the labels of each picture that users gave several labels to, by its sha256."""
    labels: dict[str, set[str]] = {}
    for record in records:
        labels.setdefault(record.sha256, set()).add(record.label)
    return {sha256: sorted(some) for sha256, some in labels.items() if len(some) > 1}
