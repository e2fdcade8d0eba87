"""Comparison of two summaries, and the reasons why they may not be compared."""

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError
from rich.console import Group
from rich.table import Table
from rich.text import Text

from common.verdicts import Verdict
from handler.files import UserError
from loadtest.judge.summary import Row, Summary
from loadtest.report.words import duration, percent, rate, times

# Share of the processor time: where the host gave more to other machines, it has changed the figures.
STOLEN = 0.02
SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True)
class Pair:
    """One figure in both summaries; None where a summary has none."""

    old: float | None
    new: float | None

    @property
    def ratio(self) -> float | None:
        """The new figure divided by the old one; infinite where it grew from 0."""
        if self.old is None or self.new is None:
            return None
        if self.old == 0:
            return math.inf if self.new else None
        return self.new / self.old


@dataclass(frozen=True, slots=True)
class Change:
    """The figures of one protocol in both tests, over all measured stages."""

    name: str
    p50: Pair
    p95: Pair
    p99: Pair
    answered_rate: Pair
    failed_share: Pair
    """Share of the requests that were due that failed or were never sent."""


@dataclass(frozen=True, slots=True)
class Comparison:
    old: Summary
    new: Summary
    changes: tuple[Change, ...]
    warnings: tuple[str, ...]
    """Reasons why they should not be compared."""

    @property
    def comparable(self) -> bool:
        return not self.warnings


def compare(old: Summary, new: Summary) -> Comparison:
    before = {row.name: row for row in old.rows if row.stage == "all"}
    after = {row.name: row for row in new.rows if row.stage == "all"}
    changes = tuple(change(before[name], after[name]) for name in after if name in before)
    return Comparison(old, new, changes, tuple(differences(old, new)))


def change(old: Row, new: Row) -> Change:
    before, after = old.latency, new.latency
    return Change(
        new.name,
        p50=Pair(before.p50 if before else None, after.p50 if after else None),
        p95=Pair(before.p95 if before else None, after.p95 if after else None),
        p99=Pair(before.p99 if before else None, after.p99 if after else None),
        answered_rate=Pair(old.answered_rate, new.answered_rate),
        failed_share=Pair(failed_share(old), failed_share(new)),
    )


def failed_share(row: Row) -> float | None:
    return (row.failed + row.dropped) / row.due if row.due else None


def differences(old: Summary, new: Summary) -> list[str]:
    """Return sentences on the differences between two tests other than the server."""
    sentences = []
    for which, summary in (("old", old), ("new", new)):
        if summary.verdict in (Verdict.INVALID, Verdict.NOT_READY):
            sentences.append(f"The {which} measurement is {summary.verdict}: its figures cannot be trusted.")
        if summary.machine.stolen > STOLEN:
            sentences.append(
                f"In the {which} test, {percent(summary.machine.stolen)} of the processor time went to other machines."
            )
    if old.machine.processor != new.machine.processor:
        sentences.append(f"Another processor: {old.machine.processor}, now {new.machine.processor}.")
    if old.machine.processors != new.machine.processors:
        sentences.append(f"Another number of processors: {old.machine.processors:g}, now {new.machine.processors:g}.")
    if old.machine.processes != new.machine.processes:
        sentences.append(
            f"Another number of processes made the load: {old.machine.processes}, now {new.machine.processes}."
        )
    if old.plan.loop != new.plan.loop:
        sentences.append(
            f"The loop was {old.plan.loop}, and is {new.plan.loop}: a closed loop hides how long requests waited."
        )
    if (old.plan.shape, old.plan.stages) != (new.plan.shape, new.plan.stages):
        sentences.append(f"Another plan: {plan(old)}, now {plan(new)}.")
    if sorted(old.plan.protocols) != sorted(new.plan.protocols):
        sentences.append(f"Other protocols: {', '.join(old.plan.protocols)}, now {', '.join(new.plan.protocols)}.")
    if old.plan.pictures_sha256 != new.plan.pictures_sha256:
        sentences.append("Other pictures were sent.")
    if old.plan.bad_share != new.plan.bad_share:
        sentences.append(
            f"Another share of broken pictures: {percent(old.plan.bad_share)}, now {percent(new.plan.bad_share)}."
        )
    return sentences


def plan(summary: Summary) -> str:
    stages = summary.plan.stages
    highest = max((max(stage.first_rate, stage.last_rate) for stage in stages), default=0.0)
    measured = sum(stage.duration for stage in stages if stage.measured)
    return f"{summary.plan.shape} to {rate(highest)} for {duration(measured)}"


def text(comparison: Comparison) -> Group:
    """Return the comparison as a table for a terminal."""
    table = Table(title=f"Since {comparison.old.started}, by protocol", title_justify="left")
    for heading in ("", "p50", "p95", "p99", "answered", "failed"):
        table.add_column(heading, justify="right" if heading else "left", no_wrap=True)
    for change in comparison.changes:
        table.add_row(Text(change.name), *(Text(cell) for cell in cells(change)))
    warnings = [Text(f"Not comparable: {warning}", style="yellow") for warning in comparison.warnings]
    return Group(table, *warnings)


def cells(change: Change) -> list[str]:
    """Return a table's cells, one for each figure: the ratio, and old and new in a second line."""
    latencies = [side_by_side(pair, duration) for pair in (change.p50, change.p95, change.p99)]
    return [*latencies, side_by_side(change.answered_rate, rate), side_by_side(change.failed_share, percent)]


def side_by_side(pair: Pair, written: Callable[[float | None], str]) -> str:
    return f"{times(pair.ratio)}\n{written(pair.old)} → {written(pair.new)}"


def read(path: Path) -> Summary:
    """
    Raises:
        UserError: no file, not a summary, or one of another version.
    """
    try:
        values = json.loads(path.read_bytes())
    except OSError as error:
        raise UserError(f"Cannot read {path}: {error.strerror}. Give the summary.json of a load test.") from error
    except ValueError as error:
        raise UserError(f"{path} is not JSON. Give the summary.json of a load test.") from error
    if not isinstance(values, dict) or "schema_version" not in values:
        raise UserError(f"{path} is not a load test's summary: it has no schema_version. Give its summary.json.")
    if values["schema_version"] != SCHEMA_VERSION:
        raise UserError(
            f"{path} has schema_version {values['schema_version']}, and this version of catsdogs reads"
            f" {SCHEMA_VERSION}: run the old test again by this version."
        )
    try:
        return Summary.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise UserError(f"{path} is not a load test's summary: {where}: {first['msg']}.") from error
