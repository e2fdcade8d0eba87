"""The review: every record with its picture in review.csv and on a page, and decisions that were made stay."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from common import review_csv
from common.review_csv import Reviewed
from handler.files import UserError, write_atomic
from monitoring.feedback import page, sheet
from monitoring.feedback.pictures import Finder, Unusable, relative, thumbnail
from monitoring.feedback.place import Place
from monitoring.feedback.record import Record
from monitoring.feedback.records import Say, conflicts, read_records

MAX_SHOWN = 1000
"""Pictures on the page and on the sheet; a thousand take 8 MB."""


@dataclass(frozen=True, slots=True)
class Summary:
    """The result of a review, in numbers."""

    rows: int
    new: int
    decided: int
    without_picture: int
    conflicting: int
    shown: int
    unusable: int

    def sentences(self, out: Path) -> list[str]:
        """Return what a person should know, and where to go on."""
        lines = [
            f"{self.rows} records: {self.new} new, {self.decided} decided, {self.rows - self.decided} not decided."
        ]
        if self.conflicting:
            lines.append(f"{self.conflicting} pictures have several labels from users; they come first.")
        if self.without_picture:
            lines.append(f"{self.without_picture} records have no picture that can be shown.")
        if self.unusable:
            lines.append(f"{self.unusable} records or pictures cannot be used; the lines above say why.")
        if self.shown < self.rows:
            lines.append(f"The page shows {self.shown} of them. Decide on these, then run the same command again.")
        lines.append(f"{out / review_csv.NAME}, {out / page.NAME}, {out / sheet.NAME}")
        return lines


def review(place: Place, out: Path, pictures: Path | None, say: Say) -> Summary:
    """Write review.csv, review.html and review.png.

    Args:
        pictures: folder in which pictures are looked for by sha256.
        say: told in a line of each record and picture that cannot be used.

    Raises:
        UserError: there is no feedback, or an earlier review.csv cannot be read; nothing was changed then.
    """
    earlier = read_earlier(out / review_csv.NAME)
    read = read_records(place, say)
    differing = conflicts(read.records)
    # The page shows the first ones: conflicts, what is not decided yet, and what the model doubts most.
    order = sorted(read.records, key=lambda record: rank(record, earlier, differing))
    finder = Finder(place, out, pictures)
    rows: list[Reviewed] = []
    thumbnails: dict[str, Image.Image] = {}
    unusable = read.broken
    out.mkdir(parents=True, exist_ok=True)
    for number, record in enumerate(order):
        path = ""
        try:
            if picture := finder.find(record):
                if number < MAX_SHOWN:
                    thumbnails[record.id] = thumbnail(picture.data)
                path = relative(picture.path, out)
        except Unusable as error:
            unusable += 1
            say(f"{record.day}/{record.picture or record.id} is not shown: {error}.")
        rows.append(_row(record, path, differing, earlier.get(record.id)))
    rows += _kept(earlier, {record.id for record in read.records}, say)
    shown = rows[:MAX_SHOWN]
    write_atomic(out / page.NAME, page.page(rows, shown, thumbnails))
    write_atomic(out / sheet.NAME, sheet.png([(row, thumbnails.get(row.id)) for row in shown]))
    write_atomic(out / review_csv.NAME, review_csv.text_of(rows))
    return Summary(
        len(rows),
        sum(row.id not in earlier for row in rows),
        sum(bool(row.decision) for row in rows),
        sum(not row.picture for row in rows),
        len(differing),
        len(shown),
        unusable,
    )


def read_earlier(path: Path) -> dict[str, Reviewed]:
    """Return the rows of an earlier review by id; none where there is no such file.

    Raises:
        UserError: it is there and cannot be read.
    """
    try:
        return {row.id: row for _, row in review_csv.parse(path.read_bytes())}
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise UserError(f"{path}: {error}. Its decisions would be lost, so nothing was changed.") from error


def rank(
    record: Record, earlier: Mapping[str, Reviewed], differing: Mapping[str, Sequence[str]]
) -> tuple[bool, bool, str, float, str]:
    """Return the place of a record in the order: its copies with other labels stay beside it."""
    conflicting = record.sha256 in differing
    decided = record.id in earlier and bool(earlier[record.id].decision)
    group = record.sha256 if conflicting else ""
    return not conflicting, decided and not conflicting, group, -record.doubt, record.id


def _row(record: Record, path: str, differing: Mapping[str, Sequence[str]], before: Reviewed | None) -> Reviewed:
    row = Reviewed(
        record.id,
        record.day,
        record.sha256,
        path,
        record.predicted,
        f"{record.probability:.4f}",
        record.label,
        record.model.version,
        ", ".join(differing.get(record.sha256, [])),
    )
    # A decision holds for the picture and the label that were looked at.
    same = before is not None and (before.sha256, before.label) == (row.sha256, row.label)
    return dataclasses.replace(row, decision=before.decision) if before and same else row


def _kept(earlier: Mapping[str, Reviewed], present: set[str], say: Say) -> list[Reviewed]:
    """Return the decided rows whose records are no longer in the place."""
    gone = [row for id, row in earlier.items() if id not in present and row.decision]
    if gone:
        say(f"{len(gone)} decided rows are kept, although their records are no longer in the place.")
    return gone
