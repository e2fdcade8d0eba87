"""All shards of a place: whether they are complete, their counts, and their rows in one file."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from handler.files import UserError, replacing
from serving.bulk.formats import JSONL, PARQUET, JsonLines, Parquet, Row, find_format
from serving.bulk.parts import DONE, NAME
from serving.bulk.places import Place
from serving.bulk.summary import Summary, read_summary

# Of rows that are written at once.
ROWS = 10_000


@dataclass(slots=True)
class Shards:
    """The shards of a place, and those that are complete."""

    count: int
    """Number of shards that there must be."""
    complete: dict[int, Summary] = field(default_factory=dict)
    kinds: set[str] = field(default_factory=set)

    @property
    def missing(self) -> list[int]:
        return sorted(set(range(self.count)) - self.complete.keys())

    @property
    def total(self) -> Summary:
        total = Summary()
        for summary in self.complete.values():
            total.add(summary)
        return total


def find_shards(place: Place, address: str) -> Shards:
    """Return the shards of a place, after a look at whether their parts are those that they wrote.

    Raises:
        UserError: there are none, or not of one command.
    """
    counts: set[int] = set()
    parts: dict[int, set[str]] = {}
    done: dict[int, str] = {}
    kinds: set[str] = set()
    for name in place.names():
        if match := NAME.fullmatch(name):
            parts.setdefault(int(match["index"]), set()).add(name)
            kinds.add(match["kind"])
        elif match := DONE.fullmatch(name):
            done[int(match["index"])] = name
        else:
            continue
        counts.add(int(match["count"]))
    if not counts:
        raise UserError(f"{address} has no parts: name the PLACE of catsdogs predict --out PLACE.")
    if len(counts) > 1:
        raise UserError(
            f"{address} has parts of several commands: of {' and of '.join(map(str, sorted(counts)))} shards."
        )
    shards = Shards(counts.pop(), kinds=kinds)
    for index, name in sorted(done.items()):
        data = place.read(name)
        summary = read_summary(name, data or b"")[0]
        if other := summary.parts.keys() ^ parts.get(index, set()):
            raise UserError(
                f"{address} does not have the parts that shard {index} wrote: {min(other)} is missing or was added. "
                f"Remove {name}, and predict that shard again."
            )
        shards.complete[index] = summary
    return shards


def rows_of(place: Place, shards: Shards) -> Iterator[Row]:
    """Yield the rows of the complete shards, part by part.

    Raises:
        UserError: a part has not as many rows as it was written with.
    """
    for _, summary in sorted(shards.complete.items()):
        for name, wanted in sorted(summary.parts.items()):
            count = 0
            for row in find_format(name.rpartition(".")[2]).read(place.read(name) or b""):
                count += 1
                yield row
            if count != wanted:
                raise UserError(f"{name} has {count} rows, and was written with {wanted}: predict that shard again.")


def write_rows(rows: Iterator[Row], file: Path) -> int:
    """Write rows to one file, JSON lines or Parquet by its name, and return their number."""
    kind = PARQUET if file.suffix == ".parquet" else JSONL
    format_of_file = find_format(kind)
    count = 0
    with replacing(file) as out:
        writer = None
        while chunk := [row for row, _ in zip(rows, range(ROWS), strict=False)]:
            count += len(chunk)
            if isinstance(format_of_file, Parquet):
                writer = writer or format_of_file.parquet.ParquetWriter(out, format_of_file.schema, compression="zstd")
                writer.write_table(format_of_file.table(chunk))
            else:
                out.write(JsonLines().write(chunk))
        if isinstance(format_of_file, Parquet):
            writer = writer or format_of_file.parquet.ParquetWriter(out, format_of_file.schema, compression="zstd")
            writer.close()
    return count
