"""The plan of a shard: the list of its files, written once, by which its parts are numbered.

A part is a fixed range of the plan, or of the members of one tar in it. So a shard that is killed goes on with the
first range that has no part, whatever order the next listing would have, and two processes of one shard write the same
files.
"""

import gzip
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from handler.files import UserError
from serving.bulk.places import Place
from serving.bulk.shard import Shard
from serving.bulk.sources import Listed, Source

FORMAT = 1
# A tar is as much work as so many bytes of pictures, one by one, for the estimate of the time left.
PICTURE_BYTES = 100_000


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of a plan."""

    source: int
    name: str
    size: int | None
    """Size of a tar in bytes; None for a picture."""


@dataclass(frozen=True, slots=True)
class Unit:
    """Consecutive lines of a plan: as many pictures as a part has, or one tar."""

    first: int
    entries: Sequence[Entry]

    @property
    def tar(self) -> Entry | None:
        return self.entries[0] if self.entries[0].size is not None else None


@dataclass(frozen=True, slots=True)
class Totals:
    """How much there is to do."""

    pictures: int = 0
    tars: int = 0
    tar_bytes: int = 0

    @property
    def work(self) -> int:
        """The number of pictures, estimated where there are tars."""
        return self.pictures + max(self.tars, self.tar_bytes // PICTURE_BYTES)

    def __str__(self) -> str:
        tars = f"{self.tars:,} tars of {self.tar_bytes / 1e6:,.1f} MB"
        pictures = f"{self.pictures:,} pictures"
        if not self.tars:
            return pictures
        return f"{pictures} and {tars}" if self.pictures else tars


def plan_name(shard: Shard) -> str:
    """Return the plan's name. Readers of data sets pass over what begins with an underscore."""
    return f"_plan-{shard.label}.jsonl.gz"


def head_of(
    shard: Shard, part_size: int, sources: Sequence[str], kind: str, model: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the first line of a plan: what must be the same when the shard is gone on with."""
    return {
        "plan": FORMAT,
        "shard": str(shard),
        "sources": list(sources),
        "part_size": part_size,
        "format": kind,
        "model": dict(model),
    }


def make_plan(
    place: Place,
    shard: Shard,
    head: Mapping[str, Any],
    sources: Sequence[Source],
    file: Path,
    go_on: Callable[[], None],
) -> int:
    """List the sources, and write the plan of this shard; one that another process wrote meanwhile stays.

    Args:
        file: where the list is gathered, on this machine's disk.
        go_on: called for each file; it may raise.

    Returns:
        The number of files in all shards.
    """
    count = 0
    with gzip.open(file, "wt", compresslevel=4) as plan:
        plan.write(json.dumps(head) + "\n")
        for number, source in enumerate(sources):
            for listed in source.entries():
                count += 1
                go_on()
                if shard.holds(listed.name):
                    plan.write(_line(number, listed))
    if count:
        place.create(plan_name(shard), file.read_bytes())
    return count


def _line(source: int, listed: Listed) -> str:
    fields = [source, listed.name] if listed.size is None else [source, listed.name, listed.size]
    return json.dumps(fields, separators=(",", ":")) + "\n"


class Plan:
    """A plan in a file of this machine. It is read line by line: it may have millions."""

    def __init__(self, file: Path) -> None:
        self.file = file
        with gzip.open(file, "rt") as plan:
            self.head: dict[str, Any] = json.loads(plan.readline())
            pictures = tars = tar_bytes = 0
            for entry in map(_entry, plan):
                pictures += entry.size is None
                tars += entry.size is not None
                tar_bytes += entry.size or 0
        self.totals = Totals(pictures, tars, tar_bytes)

    def check(self, head: Mapping[str, Any], out: str) -> None:
        """Compare with what this command would plan.

        Raises:
            UserError: it would be another plan, whose parts do not go with those that are there.
        """
        for key, wanted in head.items():
            if self.head.get(key) != wanted:
                before, now = _words(key, self.head.get(key)), _words(key, wanted)
                raise UserError(
                    f"{out} was begun with {before}, and this command has {now}: give the same, or another --out."
                )

    def units(self, part_size: int) -> Iterator[Unit]:
        """Yield the units in order."""
        first, entries = 0, list[Entry]()
        with gzip.open(self.file, "rt") as plan:
            plan.readline()
            for number, line in enumerate(plan):
                entry = _entry(line)
                if entries and (entry.size is not None or len(entries) == part_size):
                    yield Unit(first, entries)
                    entries = []
                if entry.size is not None:
                    yield Unit(number, [entry])
                    continue
                if not entries:
                    first = number
                entries.append(entry)
        if entries:
            yield Unit(first, entries)


def _entry(line: str) -> Entry:
    source, name, *size = json.loads(line)
    return Entry(source, name, size[0] if size else None)


def _words(key: str, value: Any) -> str:
    """Return what a line of a plan's head says, for people."""
    if key == "sources":
        return f"the sources {', '.join(value)}"
    if key == "part_size":
        return f"--part-size {value}"
    if key == "format":
        return f"--format {value}"
    if key == "model":
        return f"the model {' '.join(str(fact)[:12] for fact in value.values())}"
    return f"{key} {value}"
