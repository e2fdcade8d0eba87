"""An even choice of a few out of many."""

from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


def evenly(items: Sequence[T], limit: int | None) -> list[T]:
    """Return at most `limit` of them at even distances, so of every class and folder; the first is among them."""
    count = min(len(items), limit or len(items))
    return [items[index * len(items) // count] for index in range(count)]
