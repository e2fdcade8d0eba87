"""Pictures per second of the step alone, and with its loader: `catsdogs train --measure`."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise
from pathlib import Path
from statistics import fmean, median

import torch
from torch.optim.swa_utils import AveragedModel

from handler.files import UserError
from training.config import Config
from training.data.loaders import Batch
from training.data.manifest import Manifest
from training.learning.batch import for_pictures
from training.learning.runtime import Group, choose_amp, choose_device, seed_everything
from training.learning.small_maps import use_products
from training.learning.task import make_task
from training.learning.train import check_manifest, loss_of, make_optimizer, picture_size, running_mean


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
    on_work: Callable[[str, int, int], None] = lambda what, done, total: None,
    say: Callable[[str], None] = lambda sentence: None,
) -> list[Throughput]:
    """Times rounds of `steps` steps, in turn alone and fed, at the first, the middle and the last size of the run.

    A fed round is timed once the loader's queue, which was filled while it waited, is used up; and as a whole, since a
    loader that is too slow makes a few steps wait for long.

    Raises:
        UserError: too few pictures for one round.
    """
    config = for_pictures(config, len(manifest.split("train")))
    check_manifest(config, manifest)
    recipe, group = config.train, Group(0, 1, choose_device())
    amp = choose_amp(recipe.amp, group.device)
    seed_everything(recipe.seed)
    task = make_task(config, manifest, group, cache, amp, on_work, say)
    queued, batch_size = 4 * max(1, recipe.workers), recipe.pictures_per_step
    if task.count < (queued + steps) * batch_size:
        raise UserError(f"A round takes {(queued + steps) * batch_size} pictures; there are {task.count}.")
    student = task.student.to(group.device)
    if amp is torch.bfloat16 and group.device.type == "cpu":
        use_products(student)
    averaged = AveragedModel(task.answering, multi_avg_fn=running_mean(recipe.ema_decay), use_buffers=True)
    optimizer = make_optimizer(student, recipe)
    student.train()

    def speed(batches: Iterator[Batch], steps: int) -> float:
        started, shown = time.perf_counter(), 0
        for batch in islice(batches, steps):
            shown += len(batch[1])
            loss = loss_of(batch, student, task, recipe, 1.0, group.device, amp)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            averaged.update_parameters(task.answering)
            loss.item()
        return shown / (time.perf_counter() - started)

    results = []
    for size in sorted({picture_size(recipe, epoch) for epoch in (0, recipe.epochs // 2, recipe.epochs - 1)}):
        batches = task.batches(0, size)
        kept = list(islice(batches, steps))
        del batches  # its workers end here
        speed(iter(kept), steps)  # the first use of a size is slow
        alone, fed = [speed(iter(kept), steps)], []
        for round_ in range(rounds):
            batches = task.batches(round_, size)
            speed(batches, queued)
            fed.append(speed(batches, steps))
            del batches
            alone.append(speed(iter(kept), steps))
            on_work(f"measuring at {size} px", round_ + 1, rounds)
        results.append(Throughput(size, alone, fed))
    return results
