"""The share of the pictures that one process classifies, by a hash of their names."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b

from handler.files import UserError

# The environment of a pod of an Indexed Job has its index.
INDEX = "JOB_COMPLETION_INDEX"
MAX_COUNT = 99_999


@dataclass(frozen=True, slots=True)
class Shard:
    """Shard `index` of `count`, counted from 0."""

    index: int
    count: int

    def holds(self, name: str) -> bool:
        """Whether a picture belongs to this shard: by its name alone, so that no order of a listing matters."""
        return shard_of(name, self.count) == self.index

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"

    @property
    def label(self) -> str:
        """The shard in the names of files, which sort by it."""
        return f"{self.index:05d}-of-{self.count:05d}"


def shard_of(name: str, count: int) -> int:
    """Return the shard of a name, the same on every machine and in every version."""
    digest = blake2b(name.encode(errors="surrogateescape"), digest_size=8).digest()
    return int.from_bytes(digest, "big") % count


def read_shard(text: str | None, environment: Mapping[str, str] = os.environ) -> Shard:
    """Return the shard that --shard names: INDEX/COUNT, or COUNT with the index of an Indexed Job.

    Raises:
        UserError: it is not a shard, or the environment has an index and nobody says of how many.
    """
    index = environment.get(INDEX, "")
    if text is None:
        if index:
            raise UserError(f"{INDEX} is {index}: give the number of the Job's completions by --shard COUNT.")
        return Shard(0, 1)
    match = re.fullmatch(r"(?:(\d{1,5})/)?(\d{1,5})", text)
    if match is None or int(match[2]) == 0:
        raise UserError(f"{text} is not a shard: it must be INDEX/COUNT, such as 0/8, or COUNT in an Indexed Job.")
    index = match[1] or index
    if not index.isdecimal() or len(index) > 5:
        raise UserError(f"--shard {text} has no index, and {INDEX} is not set: give it as INDEX/COUNT, such as 0/8.")
    shard = Shard(int(index), int(match[2]))
    if shard.index >= shard.count:
        raise UserError(f"There is no shard {shard}: the index counts from 0, so the last one is {shard.count - 1}.")
    return shard
