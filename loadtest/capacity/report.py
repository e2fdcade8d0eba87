"""Reports of a search for the capacity: capacity.json, and a page, capacity.html."""

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import matplotlib
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from common.cores import usable_cores
from handler.files import write_atomic
from loadtest.capacity.share import Share
from loadtest.capacity.trial import Capacity
from loadtest.judge.machine import instruction_sets, processor, tested_revision
from loadtest.report.page import render
from loadtest.report.plots import WIDTH, set_latency_axis, show_threshold
from loadtest.report.svg import GROUND, LATENCY, SERVICE, SHADE, SOFT, STYLE, WRONG, inline
from loadtest.report.words import duration, rate

NO_SHARES: Mapping[str, Share] = MappingProxyType({})


def write(capacities: Sequence[Capacity], folder: Path, shares: Mapping[str, Share] = NO_SHARES) -> None:
    """Write both reports.

    Args:
        shares: of the no-server limit, by protocol.
    """
    folder.mkdir(parents=True, exist_ok=True)
    values = {
        "schema_version": 2,
        "machine": {"processor": processor(), "instruction_sets": instruction_sets(), "cores": usable_cores()},
        "git": tested_revision(),
        "capacities": [as_json(capacity, shares.get(capacity.protocol)) for capacity in capacities],
    }
    write_atomic(folder / "capacity.json", json.dumps(values, indent=1, allow_nan=False).encode() + b"\n")
    plots = [draw(capacity, f"capacity-{number}") for number, capacity in enumerate(capacities)]
    page = render("capacity.html", capacities=list(zip(capacities, plots, strict=True)), shares=shares)
    write_atomic(folder / "capacity.html", page.encode())


def as_json(capacity: Capacity, share: Share | None) -> Any:
    return known(dataclasses.asdict(capacity) | {"no_server": dataclasses.asdict(share) if share else None})


def known(value: Any) -> Any:
    """Return a value with null in place of what is not a number, since JSON has nothing else for it."""
    match value:
        case dict():
            return {key: known(part) for key, part in value.items()}
        case list() | tuple():
            return [known(part) for part in value]
        case float() if not math.isfinite(value):
            return None
    return value


def draw(capacity: Capacity, name: str) -> Markup:
    """Draw the latency by rate, and the rates between which the capacity lies."""
    points = sorted((t for t in capacity.trials if math.isfinite(t.p50 + t.p99)), key=lambda trial: trial.rate)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 3.9), layout="constrained")
        axes = figure.subplots()
        latencies = [value for trial in points for value in (trial.p50, trial.p99)] + [capacity.threshold]
        set_latency_axis(axes, min(latencies) / 1.5, max(latencies) * 2.2)
        for field, colour in (("p50", SERVICE), ("p99", LATENCY)):
            axes.plot(
                [t.rate for t in points], [getattr(t, field) for t in points], color=colour, linewidth=1, alpha=0.5
            )
            for trial in points:
                filled = colour if trial.kind == "confirm" else GROUND
                axes.plot(trial.rate, getattr(trial, field), "o", color=colour, markerfacecolor=filled, markersize=6)
        show_threshold(axes, capacity.threshold)
        right = 1.08 * max([trial.rate for trial in capacity.trials] + [capacity.confirmed or 1])
        axes.set_xlim(0, right)
        show_bracket(axes, capacity, right)
        axes.xaxis.set_major_locator(MaxNLocator(7))
        axes.set_xlabel("requests per second asked")
        axes.grid()
        axes.set_axisbelow(True)
    return inline(
        figure,
        name,
        f"Latency of {capacity.protocol} by rate, in {len(capacity.trials)} trials. The threshold is"
        f" {duration(capacity.threshold)}. {capacity.sentence}",
    )


def show_bracket(axes: Axes, capacity: Capacity, right: float) -> None:
    """Shade the rates between the confirmed one and the lowest that breached, and those above it."""
    low, high = capacity.confirmed or 0, capacity.lowest_breached or right
    axes.axvspan(low, high, color=SHADE, linewidth=0, zorder=-2)
    if capacity.lowest_breached is not None:
        axes.axvspan(capacity.lowest_breached, right, color=WRONG, alpha=0.1, linewidth=0, zorder=-2)
    if capacity.confirmed is not None:
        axes.axvline(capacity.confirmed, color=SOFT, linewidth=1.2)
        axes.annotate(
            f"confirmed: {rate(capacity.confirmed)} ",
            (capacity.confirmed, 0.975),
            xycoords=axes.get_xaxis_transform(),
            ha="right",
            va="top",
            color=SOFT,
        )
