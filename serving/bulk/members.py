"""The pictures of one tar, in blocks of which each becomes a part."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

from handler.open_image import MAX_BYTES
from handler.problem import Problem
from serving.bulk.plan import Entry
from serving.bulk.sources import has_pictures_name, looks_like_picture, too_large
from serving.bulk.tar import BrokenTar, Member, Stream, Tar
from serving.bulk.worker import Item
from serving.client.pictures import HEAD


@dataclass(slots=True)
class Block:
    """Consecutive members of a tar. Its items are read once, before those of the next block."""

    tar: "TarPictures"
    first: int
    count: int
    is_last: bool = False
    """Known once the items are read."""
    skipped: int = 0
    """Members that are no pictures."""

    def items(self) -> Iterator[Item]:
        for member in itertools.islice(self.tar, self.count):
            item = self.tar.item(member)
            if item is None:
                self.skipped += 1
            else:
                yield item
        self.is_last = self.tar.is_at_end()


class TarPictures:
    """An iterator of a tar's members. Where it is broken, the last one is the reason."""

    def __init__(self, entry: Entry, stream: Stream) -> None:
        self.entry, self.stream = entry, stream
        self.rest = self._members()
        self.ahead: list[Member | BrokenTar] = []

    def blocks(self, count: int) -> Iterator[Block]:
        """Yield blocks of `count` members, of which the last one may have fewer, or none."""
        for first in itertools.count(0, count):
            block = Block(self, first, count)
            yield block
            if block.is_last:
                return

    def pass_over(self, block: Block) -> None:
        """Skip a block without reading its pictures."""
        for _ in itertools.islice(self, block.count):
            pass
        block.is_last = self.is_at_end()

    def __iter__(self) -> Iterator[Member | BrokenTar]:
        return self

    def __next__(self) -> Member | BrokenTar:
        return self.ahead.pop() if self.ahead else next(self.rest)

    def is_at_end(self) -> bool:
        """Whether there is no other member. The content of the last one is passed over."""
        if not self.ahead:
            self.ahead.extend(itertools.islice(self.rest, 1))
        return not self.ahead

    def _members(self) -> Iterator[Member | BrokenTar]:
        try:
            yield from Tar(self.stream).members()
        except BrokenTar as broken:
            yield broken

    def item(self, member: Member | BrokenTar) -> Item | None:
        """Read a member; None for one that is no picture."""
        source, tar = self.entry.source, self.entry.name
        if isinstance(member, BrokenTar):
            return Item(source, tar, problem=(422, "corrupt_tar", str(member)))
        problem: Problem | None = None
        data = b""
        try:
            data = member.read(HEAD)
            if not has_pictures_name(member.name) and not looks_like_picture(data):
                return None
            if member.size > MAX_BYTES:
                problem = too_large(member.size)
            else:
                data += member.read(member.size)
        except BrokenTar as broken:
            problem = Problem(422, "corrupt_tar", str(broken))
            self.rest = iter(())  # the next header would be missing too
        if problem is not None:
            return Item(source, tar, member.name, problem=(problem.status, problem.code, problem.detail))
        return Item(source, tar, member.name, data)
