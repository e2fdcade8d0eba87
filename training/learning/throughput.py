"""Pictures per second of the step alone, and with its loader: `catsdogs train --measure`."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise
from pathlib import Path
from statistics import fmean, median

from handler.files import UserError
from training.config import Config
from training.data.loaders import Batch
from training.data.manifest import Manifest
from training.learning.batch import for_pictures
from training.learning.freezing import training_mode
from training.learning.learner import Learner, check_manifest, make_learner
from training.learning.loss import loss_of
from training.learning.optimizer import picture_size
from training.learning.runtime import Group, choose_amp, choose_device
from training.learning.tasks.context import Context, OnWork, Say, silent, silent_work


@dataclass(frozen=True, slots=True)
class Throughput:
    """Pictures per second of each round on the loader's batches, and before, between and after on batches in memory."""

    size: int
    alone_rounds: list[float]
    fed_rounds: list[float]

    @property
    def alone(self) -> float:
        """Pictures per second."""
        return median(self.alone_rounds)

    @property
    def fed(self) -> float:
        """Pictures per second."""
        return self.alone * (1 - self.slowdown)

    @property
    def slowdown(self) -> float:
        """Share of the step's speed that the loader costs: the median round's, against those right before and after.

        A machine's speed may change by more in a minute than what is measured here.
        """
        around = map(fmean, pairwise(self.alone_rounds))
        return median(1 - fed / alone for fed, alone in zip(self.fed_rounds, around, strict=True))


def slowdown_of_all(rows: Sequence[Throughput]) -> float:
    """Return the slowdown of a run that shows equally many pictures at each of these sizes."""
    return 1 - sum(1 / row.alone for row in rows) / sum(1 / row.fed for row in rows)


def measure(
    config: Config,
    manifest: Manifest,
    cache: Path,
    rounds: int = 7,
    steps: int = 8,
    on_work: OnWork = silent_work,
    say: Say = silent,
) -> list[Throughput]:
    """Time rounds of `steps` steps, in turn alone and fed, at the first, the middle and the last size of the run.

    Raises:
        UserError: too few pictures for one round.
    """
    config = for_pictures(config, len(manifest.split("train")))
    check_manifest(manifest)
    recipe, group = config.train, Group(0, 1, choose_device())
    context = Context(config, manifest, group, cache, choose_amp(recipe.amp, group.device), on_work, say)
    learner = make_learner(context)
    needed = (_queued(config) + steps) * recipe.pictures_per_step
    if learner.task.count < needed:
        raise UserError(f"A round takes {needed} pictures; there are {learner.task.count}.")
    training_mode(learner.student, learner.task.frozen, config.model.freeze_norms)
    sizes = sorted({picture_size(recipe, epoch) for epoch in (0, recipe.epochs // 2, recipe.epochs - 1)})
    return [_measure_size(context, learner, size, rounds, steps) for size in sizes]


def _measure_size(context: Context, learner: Learner, size: int, rounds: int, steps: int) -> Throughput:
    """Time the rounds at one size.

    A fed round is timed once the loader's queue, which was filled while it waited, is used up; and as a whole, since a
    loader that is too slow makes a few steps wait for long.
    """
    batches = learner.task.batches(0, size)
    kept = list(islice(batches, steps))
    del batches  # its workers end here
    _speed(context, learner, iter(kept), steps)  # the first use of a size is slow
    alone, fed = [_speed(context, learner, iter(kept), steps)], []
    for round_ in range(rounds):
        batches = learner.task.batches(round_, size)
        _speed(context, learner, batches, _queued(context.config))
        fed.append(_speed(context, learner, batches, steps))
        del batches
        alone.append(_speed(context, learner, iter(kept), steps))
        context.on_work(f"measuring at {size} px", round_ + 1, rounds)
    return Throughput(size, alone, fed)


def _queued(config: Config) -> int:
    """Return the number of batches that the loader makes ahead, or more."""
    return 4 * max(1, config.train.workers)


def _speed(context: Context, learner: Learner, batches: Iterator[Batch], steps: int) -> float:
    """Return the pictures per second of the next `steps` batches."""
    recipe, device = context.config.train, context.group.device
    started, shown = time.perf_counter(), 0
    for batch in islice(batches, steps):
        shown += len(batch[1])
        loss = loss_of(batch, learner.student, learner.task, recipe, 1.0, device, learner.amp)
        learner.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        learner.optimizer.step()
        learner.averaged.update_parameters(learner.task.answering)
        loss.item()
    return shown / (time.perf_counter() - started)
