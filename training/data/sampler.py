"""The order of one epoch: which pictures each step sees, and the seed of each crop.

Every picture of an epoch gets a seed of its own, made from the run's seed, the epoch and its place alone. So the
batches are the same for any number of workers, and a resumed run continues them.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from torch.utils.data import Sampler

Ints = npt.NDArray[np.int64]


class Sample(NamedTuple):
    """One picture of one step; `view` names a fixed crop, or is -1 for a crop drawn by `seed`."""

    position: int
    seed: int
    size: int
    view: int


def balanced_order(labels: Sequence[int], rng: np.random.Generator) -> Ints:
    """Return as many positions as there are labels, each class equally often, in random order.

    The pictures of a class take turns: none is shown again before all of its class were. Where the classes do not
    divide the epoch, those that get one more are drawn.
    """
    classes = np.unique(labels)
    shares = np.full(len(classes), len(labels) // len(classes))
    shares[rng.permutation(len(classes))[: len(labels) % len(classes)]] += 1
    chosen = []
    for label, share in zip(classes, shares, strict=True):
        members = np.flatnonzero(np.asarray(labels) == label)
        turns = [rng.permutation(members) for _ in range(-(-share // len(members)))]
        chosen.append(np.concatenate(turns)[:share])
    return rng.permutation(np.concatenate(chosen))


class SeededSampler(Sampler[list[Sample]]):
    """One epoch's batches in random order: no batch is larger than `batch_size`, and their sizes differ by one at most.

    So nothing is left out of an epoch, and no step is left with a few pictures, whose norms would be noise. Of several
    processes each takes equal shares, for which up to `world` - 1 pictures wait for another epoch.

    Args:
        views: fixed crops per picture; each epoch takes the next one of each picture. 0 means crops drawn anew.
        rank, world: this process takes every `world`-th picture of each batch, from `rank` on.
        labels: of all pictures, where an epoch shows each class equally often; none means each picture once.
    """

    def __init__(
        self,
        count: int,
        batch_size: int,
        seed: int,
        epoch: int,
        size: int,
        views: int = 0,
        rank: int = 0,
        world: int = 1,
        labels: Sequence[int] | None = None,
    ) -> None:
        rng = np.random.default_rng([seed, epoch])
        self.order = rng.permutation(count) if labels is None else balanced_order(labels, rng)
        self.seeds = rng.integers(0, 2**63, count)
        first = np.random.default_rng([seed]).integers(0, max(1, views), count)
        self.views = (first[self.order] + epoch + _turns(self.order)) % views if views else np.full(count, -1)
        self.size, self.rank, self.world = size, rank, world
        self.steps = step_count(count, batch_size, world)

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[list[Sample]]:
        rounds = np.array_split(np.arange(len(self.order) // self.world), self.steps)
        for places in rounds:
            shared = places * self.world + self.rank
            yield [
                Sample(int(self.order[place]), int(self.seeds[place]), self.size, int(self.views[place]))
                for place in shared
            ]


def step_count(count: int, batch_size: int, world: int = 1) -> int:
    """Steps of an epoch of `count` pictures by `world` processes, which share each batch evenly."""
    return max(1, -(-(count // world) // max(1, batch_size // world)))


def _turns(order: Ints) -> Ints:
    """Return, for each entry, the number of equal entries before it."""
    by_value = np.argsort(order, kind="stable")
    ordered = order[by_value]
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
    turns = np.empty(len(order), dtype=np.int64)
    turns[by_value] = np.arange(len(order)) - np.repeat(starts, np.diff(np.r_[starts, len(order)]))
    return turns
