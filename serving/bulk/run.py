"""Predictions of one shard: its plan, its parts, and its summary."""

import os
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from handler.files import UserError
from handler.open_image import MAX_BYTES
from handler.problem import Problem
from handler.release import read_release
from handler.runtimes.choice import choose, from_environment
from serving.bulk.failures import Stopped, Unavailable
from serving.bulk.formats import find_format
from serving.bulk.members import TarPictures
from serving.bulk.parts import Written, done_name, find_written, members_name, pictures_name
from serving.bulk.places import Place, open_place
from serving.bulk.plan import Entry, Plan, head_of, make_plan, plan_name
from serving.bulk.pool import Pool
from serving.bulk.progress import Progress, duration
from serving.bulk.shard import Shard
from serving.bulk.sources import Source, open_sources
from serving.bulk.stop import Stop
from serving.bulk.summary import Summary, read_summary
from serving.bulk.worker import BATCH, Item, Result, Settings
from serving.server.archive import unpack

# Of a batch whose bytes go to a worker by a pipe.
BATCH_BYTES = 2 * MAX_BYTES


@dataclass(frozen=True, slots=True)
class Options:
    """The arguments of `catsdogs predict --out`."""

    sources: Sequence[str]
    out: str
    model: Path
    shard: Shard
    workers: int
    part_size: int
    kind: str
    endpoint: str | None = None


@dataclass(slots=True)
class Part:
    """A part in hand."""

    items: Iterator[Item]
    name: Callable[[], str]
    """Asked once all items are read: only then it is known whether a tar ends here."""
    passed_over: Callable[[], int] = lambda: 0
    """Members of a tar that are no pictures; asked when `name` is."""
    results: dict[int, Result] = field(default_factory=dict)
    count: int = 0
    is_read: bool = False

    @property
    def is_answered(self) -> bool:
        return self.is_read and len(self.results) == self.count


def predict_shard(options: Options, say: Callable[[str], None]) -> Summary:
    """Classify the pictures of a shard that have no row yet, and return the counts of all of them.

    Raises:
        UserError: a mistake in the options, or parts of another command in the same place.
        Unavailable: a source or the place cannot be reached now.
        Stopped: a signal came; the part in hand is written.
    """
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="catsdogs-predict-")))
        place = stack.enter_context(closing(open_place(options.out, options.endpoint)))
        sources = open_sources(options.sources, options.endpoint, options.out)
        for source in sources:
            stack.callback(source.close)
        (folder / "model").mkdir()
        unpack(options.model, folder / "model")
        return Run(options, place, sources, folder, say).run()


class Run:
    """One run of a shard."""

    def __init__(
        self, options: Options, place: Place, sources: Sequence[Source], folder: Path, say: Callable[[str], None]
    ) -> None:
        self.options, self.place, self.sources, self.folder = options, place, sources, folder
        self.say, self.stop = say, Stop(say)
        self.format = find_format(options.kind)
        self.summary = Summary()
        self.in_hand: list[Part] = []

    def run(self) -> Summary:
        options = self.options
        with self.stop.watching():
            model = model_facts(self.folder / "model")
            written = self._written()
            plan = self._plan(head_of(options.shard, options.part_size, options.sources, options.kind, model))
            name = done_name(options.shard)
            if (done := self.place.read(name)) is not None:
                self.say(f"Shard {options.shard} is complete already: {options.out} has {name}.")
                return read_summary(name, done)[0]
            settings = Settings(self.folder / "model", options.sources, options.endpoint, os.getpid())
            with Pool(options.workers, settings, self.sources, self.say) as pool:
                if not self._predict(plan, written, pool):
                    raise Stopped(f"Stopped after a whole part: {self.progress.line()}.", self.stop.number)
            self._finish(written, model)
        return self.summary

    def _plan(self, head: dict[str, Any]) -> Plan:
        """Return the plan that is there, or make it."""
        name, file = plan_name(self.options.shard), self.folder / "plan.jsonl.gz"
        data = self.place.read(name)
        if data is None:
            started = time.monotonic()
            count = make_plan(self.place, self.options.shard, head, self.sources, file, self._stop_listing)
            if not count:
                raise UserError(f"{', '.join(self.options.sources)} holds no pictures.")
            self.say(f"Listed {count:,} files in {duration(time.monotonic() - started)}.")
            # Perhaps another process's: of two, the first is kept.
            data = self.place.read(name)
        if data is None:
            raise Unavailable(f"{self.options.out} does not have the plan that was written to it")
        file.write_bytes(data)
        plan = Plan(file)
        plan.check(head, self.options.out)
        return plan

    def _stop_listing(self) -> None:
        if self.stop.number:
            raise Stopped("Stopped while the pictures were listed.", self.stop.number)

    def _written(self) -> Written:
        written = find_written(self.place.names(), self.options.shard)
        if written.other_counts:
            others = ", ".join(map(str, sorted(written.other_counts)))
            raise UserError(
                f"{self.options.out} has parts of {others} shards, and this is one of {self.options.shard.count}: "
                "give the same number as before, or another --out."
            )
        return written

    def _predict(self, plan: Plan, written: Written, pool: Pool) -> bool:
        """Write the parts that are not there; return whether all are."""
        totals = plan.totals
        self.progress = Progress(self.say, totals.work, not totals.tars, written.work)
        is_whole = False
        self.say(f"Shard {self.options.shard}: {totals}, {len(written.names):,} parts are there.")
        for part in self._parts(plan, written):
            if self.stop.number:
                break
            self.in_hand.append(part)
            for batch in batched(part.items):
                part.count += 1
                pool.submit(batch, partial(self._take, part, part.count))
                self._write()
            part.is_read = True
        else:
            is_whole = True
        pool.finish()
        self._write()
        return is_whole

    def _take(self, part: Part, number: int, result: Result) -> None:
        part.results[number] = result
        self.progress.count(len(result.rows), sum("label" not in row for row in result.rows), result.skipped)

    def _write(self) -> None:
        """Write the parts that have all their rows."""
        while self.in_hand and self.in_hand[0].is_answered:
            part = self.in_hand.pop(0)
            results = [part.results[number] for number in sorted(part.results)]
            rows = [row for result in results for row in result.rows]
            name = part.name()
            self.place.write(name, self.format.write(rows))
            self.summary.count(name, rows)
            self.summary.skip(sum(result.skipped for result in results) + part.passed_over())

    def _parts(self, plan: Plan, written: Written) -> Iterator[Part]:
        """Yield the parts that are not there, in order."""
        options = self.options
        for unit in plan.units(options.part_size):
            if unit.tar is not None:
                if not written.has_all(unit.first, options.part_size):
                    yield from self._tar_parts(unit.first, unit.tar, written.members.get(unit.first, set()))
            elif unit.first not in written.pictures:
                name = partial(pictures_name, options.shard, unit.first, len(unit.entries), options.kind)
                yield Part((Item(entry.source, entry.name) for entry in unit.entries), name)

    def _tar_parts(self, line: int, entry: Entry, there: set[int]) -> Iterator[Part]:
        """Yield the parts of a tar that are not there. Each is read before the next is asked for."""
        options, source = self.options, self.sources[entry.source]
        name = partial(members_name, options.shard, line, options.part_size, options.kind)
        try:
            stream = source.open(entry.name)
        except Problem as problem:
            item = Item(entry.source, entry.name, problem=(problem.status, problem.code, problem.detail))
            yield Part(iter([item]), lambda: name(0, True))
            return
        with closing(stream):
            tar = TarPictures(entry, stream)
            for block in tar.blocks(options.part_size):
                if block.first in there:
                    tar.pass_over(block)
                else:
                    yield Part(
                        block.items(),
                        lambda block=block: name(block.first, block.is_last),  # type: ignore[misc]
                        lambda block=block: block.skipped,  # type: ignore[misc]
                    )

    def _finish(self, written: Written, model: dict[str, Any]) -> None:
        """Count the rows of earlier runs too, and write the summary."""
        if written.names:
            self.summary.skipped = None
        for name in written.names:
            data = self.place.read(name)
            if data is None:
                raise UserError(f"{name} is gone from {self.options.out}: give the same command again.")
            self.summary.count(name, self.format.read(data))
        self.place.tidy(f"part-{self.options.shard.label}")
        facts = {"shard": str(self.options.shard), "model": model}
        self.place.write(done_name(self.options.shard), self.summary.document(facts))


def model_facts(folder: Path) -> dict[str, Any]:
    """Return what must be the same for all rows of a place, without loading the model."""
    release = read_release(folder)
    precision = choose(folder, release.precision, *from_environment()).precision
    return {
        "name": release.name,
        "version": release.version,
        "precision": precision,
        "sha256": release.weights_sha256,
    }


def batched(items: Iterable[Item]) -> Iterator[list[Item]]:
    """Yield batches of items, of bounded number and bytes."""
    batch: list[Item] = []
    size = 0
    for item in items:
        batch.append(item)
        size += len(item.data or b"")
        if len(batch) == BATCH or size > BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
