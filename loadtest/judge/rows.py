"""Figures of a test: a row for each stage and protocol, from the counts and histograms of its seconds."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from hdrh.histogram import HdrHistogram

from loadtest.generate.recorder import Collector
from loadtest.generate.shapes import Stage
from loadtest.judge.summary import Quantiles, Row


def whole_seconds(stage: Stage, start: int) -> range:
    """Return the seconds since the epoch that lie in a stage from end to end.

    Args:
        start: of the plan, whole seconds since the epoch.
    """
    return range(start + math.ceil(stage.start - 1e-6), start + math.floor(stage.end + 1e-6))


def measured_seconds(stages: Sequence[Stage], start: int) -> list[int]:
    """Return the seconds since the epoch that lie in the measured stages."""
    return [second for stage in stages if stage.measured for second in whole_seconds(stage, start)]


def make_rows(collector: Collector, stages: Sequence[Stage], start: int, protocols: Sequence[str]) -> list[Row]:
    """Return a row per stage and name, and one per name for all measured stages.

    Args:
        start: of the plan, whole seconds since the epoch.
        protocols: that share the rate of the stages.
    """
    groups = [(stage.name, [stage]) for stage in stages]
    groups.append(("all", [stage for stage in stages if stage.measured]))
    return [
        make_row(collector, title, name, planned_seconds(group, start, len(protocols)))
        for title, group in groups
        for name in collector.names()
    ]


@dataclass(frozen=True, slots=True)
class PlannedSeconds:
    """The seconds of one stage or several, and what was planned for them."""

    seconds: list[int]
    """Since the epoch."""
    rate: float
    """Mean rate of one protocol."""
    measured: bool


def planned_seconds(stages: Sequence[Stage], start: int, protocols: int) -> PlannedSeconds:
    seconds = [second for stage in stages for second in whole_seconds(stage, start)]
    rates = [stage.rate(second + 0.5 - start) for stage in stages for second in whole_seconds(stage, start)]
    rate = math.fsum(rates) / max(len(seconds), 1) / protocols
    return PlannedSeconds(seconds, rate, all(stage.measured for stage in stages))


def make_row(collector: Collector, title: str, name: str, planned: PlannedSeconds) -> Row:
    seconds = planned.seconds
    total = collector.total(name, seconds)
    length = max(len(seconds), 1)
    # The process that sent these was lost: they were never answered, and never failed either.
    lost = total["due"] - total["dropped"] - total["answered"] - total["failed"]
    return Row(
        stage=title,
        name=name,
        measured=planned.measured,
        asked_rate=planned.rate,
        due=total["due"],
        dropped=total["dropped"],
        answered=total["answered"],
        failed=total["failed"] + max(lost, 0),
        slow=total["slow"],
        labelled=total["labelled"],
        mistaken=total["mistaken"],
        due_rate=total["due"] / length,
        answered_rate=total["answered"] / length,
        latency=quantiles(collector.merged(name, "latency", seconds)),
        service=quantiles(collector.merged(name, "service", seconds)),
        lag=quantiles(collector.merged(name, "lag", seconds)),
    )


def quantiles(histogram: HdrHistogram) -> Quantiles | None:
    """Return the quantiles of a histogram in microseconds; None where it is empty."""
    if not histogram.get_total_count():
        return None
    at = {share: histogram.get_value_at_percentile(share) / 1e6 for share in (50, 90, 95, 99, 99.9)}
    return Quantiles(
        mean=histogram.get_mean_value() / 1e6,
        p50=at[50],
        p90=at[90],
        p95=at[95],
        p99=at[99],
        p999=at[99.9],
        max=histogram.get_max_value() / 1e6,
        histogram=histogram.encode().decode(),
    )
