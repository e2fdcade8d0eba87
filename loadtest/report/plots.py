"""The plots of a load test: one of each kind per protocol, small enough that a phone shows them as they are."""

import math
import statistics
from collections.abc import Callable, Sequence

import matplotlib
import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from loadtest.judge.percentiles import curve, nines, ticks
from loadtest.judge.summary import Finding, Row, Second, StagePlan, Summary
from loadtest.report.svg import INK, LATENCY, LINE, SERVICE, SHADE, SOFT, STYLE, WRONG, inline
from loadtest.report.words import duration, percent

WIDTH = 5.8
"""Inches, with 72 points each: a column of 26 rem shows them as they are."""
# More points would coincide.
MOST_POINTS = 240


def draw_percentiles(row: Row, finding: Finding | None, name: str) -> Markup:
    """Draw the latency by quantile, from when requests were due and from when they were sent."""
    assert row.latency is not None
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 3.7), layout="constrained")
        axes = figure.subplots()
        places, seconds = curve(row.latency, row.due)
        high, low = seconds[-1], seconds[0]
        if row.service is not None:
            sent, service = curve(row.service, row.due)
            axes.step(sent, service, where="post", color=SERVICE, linewidth=1.1)
            low = min(low, service[0])
        axes.step(places, seconds, where="post", color=LATENCY, linewidth=2.2)
        axes.plot(places[-1], seconds[-1], "o", color=LATENCY, markersize=5)
        right = max(places[-1], 2.0)
        if finding is not None and finding.threshold is not None:
            # The corner above the threshold has room for its name.
            high, right = max(high, 2.2 * finding.threshold), max(right, nines(finding.objective))
        right += 0.12
        set_latency_axis(axes, low / 1.4, high * 1.6)
        if finding is not None and finding.threshold is not None:
            show_threshold(axes, finding.threshold)
            # An objective of 99 % means that the curve does not enter this corner.
            edge = nines(finding.asserted)
            axes.fill_between([0, edge], finding.threshold, high * 1.6, color=WRONG, alpha=0.1, linewidth=0)
            axes.text(
                edge, high * 1.5, f"breach, up to {percent(finding.asserted)} ", ha="right", va="top", color=WRONG
            )
        axes.set_xlim(0, right)
        axes.set_xticks(*ticks(right))
        axes.set_xlim(0, right)
        axes.set_xlabel("share of the requests")
        axes.set_ylabel("answered within")
        axes.grid(axis="both")
        axes.set_axisbelow(True)
    figures = row.latency
    alternative = (
        f"Percentiles of {row.name}: half of the requests within {duration(figures.p50)}, 99 % within"
        f" {duration(figures.p99)}, the slowest {duration(figures.max)}"
    )
    if row.service is not None:
        alternative += f"; from sending, 99 % within {duration(row.service.p99)}"
    if finding is not None and finding.threshold is not None:
        alternative += f". The threshold is {duration(finding.threshold)} for {percent(finding.objective)}"
    return inline(figure, name, f"{alternative}.")


def draw_times(summary: Summary, protocol: str, threshold: float | None, name: str) -> Markup:
    """Draw the latency over time, and below it the planned rate and the rate of answers."""
    seconds = [second for second in summary.seconds if second.name == protocol]
    spans = grouped(filled(seconds))
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 4.6), layout="constrained")
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(2.4, 1))
        stages = summary.plan.stages
        end = max([stage.start + stage.duration for stage in stages] + [second.time + 1 for second in seconds])
        upper.set_xlim(0, end)
        values = draw_latencies(upper, spans)
        if threshold is not None:
            values.append(threshold)
        if values:
            set_latency_axis(upper, min(values) / 1.4, max(values) * 2.2)
        if threshold is not None:
            show_threshold(upper, threshold)
        for span in spans:
            if any(second.failed for second in span):
                upper.plot(middle(span), 0.045, "x", color=WRONG, markersize=6, transform=upper.get_xaxis_transform())
        draw_rates(lower, summary, protocol, spans)
        shade(upper, stages, end, named=True)
        shade(lower, stages, end, named=False)
        upper.grid(axis="y")
        lower.grid(axis="y")
        for axes in (upper, lower):
            axes.set_axisbelow(True)
        lower.set_xlabel("seconds since the start")
        figure.align_ylabels()
    failed = sum(second.failed for second in seconds)
    slowest = max((second.max for second in seconds if second.max is not None), default=None)
    return inline(
        figure,
        name,
        f"Latency and rate of {protocol} over {end:.0f} seconds in {len(stages)} stages: the slowest answer took"
        f" {duration(slowest)}, {failed:,} requests failed.",
    )


def draw_latencies(axes: Axes, spans: Sequence[Sequence[Second]]) -> list[float]:
    """The lines of p50, p99 and the slowest; what they show."""
    times = [middle(span) for span in spans]
    shown: list[float] = []
    summed: Callable[[Sequence[float]], float]
    for field, summed, width, opacity in (
        ("max", max, 0.8, 0.55),
        ("p99", max, 1.6, 1.0),
        ("p50", statistics.median, 1.6, 1.0),
    ):
        line = []
        for span in spans:
            known = [value for second in span if (value := getattr(second, field)) is not None]
            line.append(summed(known) if known else math.nan)
        shown += [value for value in line if not math.isnan(value)]
        colour = SERVICE if field == "p50" else LATENCY
        axes.plot(times, line, color=colour, linewidth=width, alpha=opacity)
        # A lone point has no line.
        around = [math.nan, *line, math.nan]
        alone = [n for n in range(len(line)) if math.isnan(around[n]) and math.isnan(around[n + 2])]
        axes.plot([times[n] for n in alone], [line[n] for n in alone], ".", color=colour, alpha=opacity, markersize=4)
    return shown


def draw_rates(axes: Axes, summary: Summary, protocol: str, spans: Sequence[Sequence[Second]]) -> None:
    stages = summary.plan.stages
    part = share_of(summary, protocol)
    for stage in stages:
        ends = [stage.start, stage.start + stage.duration]
        axes.plot(ends, [part * stage.first_rate, part * stage.last_rate], color=INK, linewidth=1.4)
    if not spans:
        return
    edges = [span[0].time for span in spans] + [spans[-1][-1].time + 1]
    answered = [statistics.mean(second.due - second.failed for second in span) for span in spans]
    failed = [statistics.mean(second.failed for second in span) for span in spans]
    axes.stairs(answered, edges, fill=True, color=LATENCY, alpha=0.5, linewidth=0)
    axes.stairs(np.add(answered, failed), edges, baseline=answered, fill=True, color=WRONG, linewidth=0)
    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_locator(MaxNLocator(3, integer=True))
    axes.set_ylabel("requests/s")


def share_of(summary: Summary, protocol: str) -> float:
    """Return a protocol's share of the plan's rate, which is all protocols' together."""
    asked = {row.stage: row.asked_rate for row in summary.rows if row.name == protocol}
    for stage in summary.plan.stages:
        if stage.name in asked and stage.first_rate + stage.last_rate > 0:
            return asked[stage.name] / ((stage.first_rate + stage.last_rate) / 2)
    return 1 / max(1, len(summary.plan.protocols))


def filled(seconds: Sequence[Second]) -> list[Second]:
    """Return the seconds, with those added in which nothing was due."""
    by_time = {round(second.time): second for second in seconds}
    empty = {"due": 0, "failed": 0, "p50": None, "p99": None, "max": None}
    return [
        by_time.get(time) or seconds[0].model_copy(update={"time": float(time), **empty})
        for time in range(min(by_time, default=0), max(by_time, default=-1) + 1)
    ]


def seconds_per_point(seconds: Sequence[Second]) -> int:
    """Return how many seconds a point stands for, so that at most MOST_POINTS are drawn."""
    return math.ceil(len(seconds) / MOST_POINTS) or 1


def grouped(seconds: Sequence[Second]) -> list[Sequence[Second]]:
    length = seconds_per_point(seconds)
    return [seconds[start : start + length] for start in range(0, len(seconds), length)]


def middle(span: Sequence[Second]) -> float:
    return (span[0].time + span[-1].time + 1) / 2


def shade(axes: Axes, stages: Sequence[StagePlan], end: float, named: bool) -> None:
    """Shade every other stage, and the warm-up darker; name those that are wide enough."""
    for number, stage in enumerate(stages):
        after = stage.start + stage.duration
        if not stage.measured:
            axes.axvspan(stage.start, after, color=SHADE, alpha=1, linewidth=0, zorder=-2)
            axes.axvspan(stage.start, after, facecolor="none", edgecolor=LINE, hatch="///", linewidth=0, zorder=-1)
        elif number % 2:
            axes.axvspan(stage.start, after, color=SHADE, alpha=0.7, linewidth=0, zorder=-2)
        # A letter takes about a hundredth of the plot's width.
        if named and stage.duration / end > 0.0155 * len(stage.name):
            axes.text(
                stage.start + stage.duration / 2,
                0.975,
                stage.name,
                transform=axes.get_xaxis_transform(),
                ha="center",
                va="top",
                color=SOFT,
                fontsize=10,
            )


def show_threshold(axes: Axes, threshold: float) -> None:
    axes.axhline(threshold, color=WRONG, linewidth=1.2, dashes=(5, 3))
    axes.annotate(
        duration(threshold),
        (0, threshold),
        xycoords=axes.get_yaxis_transform(),
        xytext=(4, 3),
        textcoords="offset points",
        color=WRONG,
        gid="halo-threshold",
    )


def set_latency_axis(axes: Axes, low: float, high: float) -> None:
    """Make the latency's axis logarithmic, in ms and s, with more ticks where there are few decades."""
    axes.set_yscale("log")
    axes.set_ylim(low, high)
    decades = math.log10(high / low)
    steps = (1.0, 2.0, 5.0) if decades < 2 else (1.0, 3.0) if decades < 4 else (1.0,)
    axes.yaxis.set_major_locator(LogLocator(subs=steps, numticks=20))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: duration(value)))
    axes.yaxis.set_minor_formatter(NullFormatter())
