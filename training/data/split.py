"""The split of groups of near-duplicates over train, val and test, decided by content.

The hash of a group's name picks its side, so the same pictures are split alike on every machine. Chance would leave
small classes without a picture to test: each class has a fewest number of groups for each side, and what is missing
there is taken from the groups whose hashes lie nearest. Large classes have enough on each side and are left alone.
"""

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

SPLITS = ("train", "val", "test")
Ratios = tuple[int, int, int]
# Classes of more groups than this have the same fewest numbers as one of this many.
LARGE_CLASS = 100
# A class of one or two groups is trained on first, then tested.
MOST_NEEDED = ("train", "test", "val")


@dataclass(frozen=True, slots=True)
class Group:
    """Near-duplicates that share a side.

    Attributes:
        name: the start of the smallest sha256 in the group.
        labels: of its pictures.
        held: the side that the user chose for it.
        before: the side on which its pictures stood in the previous manifest.
    """

    name: str
    labels: frozenset[str]
    held: str | None = None
    before: str | None = None


def choose_split(group: str, ratios: Ratios) -> str:
    """Return the side of a group by its name alone."""
    point = _point(group, ratios)
    return SPLITS[0] if point < ratios[0] else SPLITS[1] if point < ratios[0] + ratios[1] else SPLITS[2]


def assign(groups: Sequence[Group], ratios: Ratios) -> list[str]:
    """Return the side of each group: the user's, else that of the previous manifest, else by content.

    Only groups that are new and free are moved to fill up a side.
    """
    sides = [group.held or group.before or choose_split(group.name, ratios) for group in groups]
    members: dict[str, list[int]] = {}
    for index, group in enumerate(groups):
        for label in group.labels:
            members.setdefault(label, []).append(index)
    fewest = {
        label: fewest_groups(sum(groups[index].held is None for index in indices), ratios)
        for label, indices in members.items()
    }
    counts = {label: Counter(sides[index] for index in indices) for label, indices in members.items()}

    def can_leave(index: int) -> bool:
        side, group = sides[index], groups[index]
        fixed = group.held is not None or group.before is not None
        return not fixed and all(counts[label][side] > fewest[label][side] for label in group.labels)

    for label in sorted(members):
        for side in MOST_NEEDED:
            while counts[label][side] < fewest[label][side]:
                candidates = [index for index in members[label] if sides[index] != side and can_leave(index)]
                if not candidates:
                    break
                nearest = min(candidates, key=lambda i: (_distance(groups[i].name, side, ratios), groups[i].name))
                for shared in groups[nearest].labels:
                    counts[shared][sides[nearest]] -= 1
                    counts[shared][side] += 1
                sides[nearest] = side
    return sides


def fewest_groups(count: int, ratios: Ratios) -> dict[str, int]:
    """Return how many of a class's `count` groups each side has at least: three quarters of its part.

    Of three groups or fewer, one goes to each side, first to train, then to test. A side whose part is 0 gets none.
    """
    wanted = [split for split in MOST_NEEDED if ratios[SPLITS.index(split)]]
    if count <= len(wanted):
        return {split: int(split in wanted[:count]) for split in SPLITS}
    count, parts = min(count, LARGE_CLASS), dict(zip(SPLITS, ratios, strict=True))
    # Three quarters, rounded up.
    fewest = {split: -(-3 * count * part // (4 * sum(ratios))) for split, part in parts.items()}
    largest = max(fewest, key=lambda split: fewest[split])
    fewest[largest] -= max(0, sum(fewest.values()) - count)
    return fewest


def _point(group: str, ratios: Ratios) -> int:
    return int(hashlib.sha256(f"catsdogs split {group}".encode()).hexdigest(), 16) % sum(ratios)


def _distance(group: str, side: str, ratios: Ratios) -> int:
    """Return how far the group's point lies from those of the side."""
    point, number = _point(group, ratios), SPLITS.index(side)
    start, end = sum(ratios[:number]), sum(ratios[: number + 1])
    return max(start - point, point - end + 1, 0)
