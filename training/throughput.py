"""How fast the step is alone, and how fast when pictures must be cropped for it: `catsdogs train --measure`."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import quantiles

import torch
from torch.optim.swa_utils import AveragedModel

from handler.files import UserError
from training.config import Config
from training.data import Batch
from training.manifest import Manifest
from training.runtime import Group, choose_amp, choose_device, seed_everything
from training.small_maps import use_products
from training.task import make_task
from training.train import check_manifest, loss_of, make_optimizer, picture_size, running_mean


@dataclass(frozen=True, slots=True)
class Throughput:
    """Seconds of each step: on batches that lie in memory, and on those of the loader."""

    size: int
    batch_size: int
    alone_s: list[float]
    fed_s: list[float]

    @property
    def alone(self) -> float:
        """Pictures per second."""
        return self.batch_size / usual(self.alone_s)

    @property
    def fed(self) -> float:
        """Pictures per second."""
        return self.batch_size / usual(self.fed_s)

    @property
    def slowdown(self) -> float:
        """Share of the step's speed that the loader costs."""
        return 1 - self.fed / self.alone


def usual(seconds: Sequence[float]) -> float:
    """The lower quartile: what else a machine does only ever makes a step slower, and by more than what is measured.

    It hides nothing of the loader, which makes one batch during each step.
    """
    return quantiles(seconds, n=4)[0]


def measure(
    config: Config,
    manifest: Manifest,
    cache: Path,
    rounds: int = 7,
    steps: int = 6,
    on_work: Callable[[str, int, int], None] = lambda what, done, total: None,
) -> list[Throughput]:
    """Times rounds of `steps` steps, in turn alone and fed, at the first, the middle and the last size of the run.

    A fed round is timed once the loader's queue, which was filled while it waited, is used up.

    Raises:
        UserError: too few pictures for one round.
    """
    check_manifest(config, manifest)
    recipe, group = config.train, Group(0, 1, choose_device())
    amp = choose_amp(recipe.amp, group.device)
    seed_everything(recipe.seed)
    task = make_task(config, manifest, group, cache, amp, on_work)
    queued = 4 * max(1, recipe.workers)
    if task.count < (queued + steps) * recipe.batch_size:
        raise UserError(f"A round takes {(queued + steps) * recipe.batch_size} pictures; there are {task.count}.")
    student = task.student.to(group.device)
    if amp is torch.bfloat16 and group.device.type == "cpu":
        use_products(student)
    averaged = AveragedModel(task.answering, multi_avg_fn=running_mean(recipe.ema_decay), use_buffers=True)
    optimizer = make_optimizer(student, recipe)
    student.train()

    def time_steps(batches: Iterator[Batch]) -> list[float]:
        seconds = []
        for _ in range(steps):
            started = time.perf_counter()
            loss = loss_of(next(batches), student, task, recipe, 1.0, group.device, amp)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            averaged.update_parameters(task.answering)
            loss.item()
            seconds.append(time.perf_counter() - started)
        return seconds

    results = []
    for size in sorted({picture_size(recipe, epoch) for epoch in (0, recipe.epochs // 2, recipe.epochs - 1)}):
        batches = task.batches(0, size)
        kept = [next(batches) for _ in range(steps)]
        del batches  # its workers end here
        time_steps(iter(kept))  # the first use of a size is slow
        alone, fed = [], []
        for round_ in range(rounds):
            alone += time_steps(iter(kept))
            batches = task.batches(round_, size)
            for _ in range(0, queued, steps):
                time_steps(batches)
            fed += time_steps(batches)
            del batches
            on_work(f"measuring at {size} px", round_ + 1, rounds)
        results.append(Throughput(size, recipe.batch_size, alone, fed))
    return results
