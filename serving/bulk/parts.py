"""Parts: the files of rows that a shard writes, each for a fixed range of its plan."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from serving.bulk.shard import Shard

# part-00001-of-00003-000012000-000012999.jsonl: lines 12000 to 12999 of the plan.
# part-00001-of-00003-000013000-members-000000000-000000999.jsonl: the first thousand files of the tar in line 13000;
# after the last of a tar's parts stands "-end".
NAME = re.compile(
    r"part-(?P<index>\d{5})-of-(?P<count>\d{5})-(?P<first>\d{9,})-"
    r"(?:(?P<last>\d{9,})|members-(?P<from>\d{9,})-(?P<to>\d{9,})(?P<end>-end)?)\.(?P<kind>jsonl|parquet)"
)
# The plan, which is there before the first part.
PLAN = re.compile(r"_plan-\d{5}-of-(?P<count>\d{5})\.jsonl\.gz")
DONE = re.compile(r"_done-(?P<index>\d{5})-of-(?P<count>\d{5})\.json")


def pictures_name(shard: Shard, first: int, count: int, kind: str) -> str:
    """Return the name of the part with the pictures of `count` lines of the plan."""
    return f"part-{shard.label}-{first:09d}-{first + count - 1:09d}.{kind}"


def members_name(shard: Shard, line: int, part_size: int, kind: str, first: int, end: bool) -> str:
    """Return the name of a part with files of a tar: `part_size` of them, or fewer at its end."""
    last = first + part_size - 1
    return f"part-{shard.label}-{line:09d}-members-{first:09d}-{last:09d}{'-end' * end}.{kind}"


def done_name(shard: Shard) -> str:
    """Return the name of the summary, which is written when the shard is complete."""
    return f"_done-{shard.label}.json"


@dataclass(slots=True)
class Written:
    """The parts of a shard that are there."""

    pictures: set[int] = field(default_factory=set)
    """The first line of each."""
    members: dict[int, set[int]] = field(default_factory=dict)
    """The first member of each part, by the line of its tar."""
    ends: set[int] = field(default_factory=set)
    """Lines of tars whose last part is there."""
    names: list[str] = field(default_factory=list)
    work: int = 0
    """The number of pictures in them, or more where a tar ends in one."""
    other_counts: set[int] = field(default_factory=set)
    """Numbers of shards that other files of this place are of."""

    def has_all(self, line: int, part_size: int) -> bool:
        """Whether a tar's parts are there, from the first to the last."""
        members = self.members.get(line, set())
        return line in self.ends and members == set(range(0, max(members) + 1, part_size))


def find_written(names: Iterable[str], shard: Shard) -> Written:
    """Return the parts of a shard among the files of a place."""
    written = Written()
    for name in names:
        match = NAME.fullmatch(name)
        if match is None:
            other = PLAN.fullmatch(name)
            if other is not None and int(other["count"]) != shard.count:
                written.other_counts.add(int(other["count"]))
            continue
        if int(match["count"]) != shard.count:
            written.other_counts.add(int(match["count"]))
        elif int(match["index"]) == shard.index:
            written.names.append(name)
            first = int(match["first"])
            if match["last"]:
                written.pictures.add(first)
                written.work += int(match["last"]) - first + 1
            else:
                written.work += int(match["to"]) - int(match["from"]) + 1
                written.members.setdefault(first, set()).add(int(match["from"]))
                if match["end"]:
                    written.ends.add(first)
    return written
