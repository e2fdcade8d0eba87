"""Drawing of panels on the board's grid by matplotlib: titles, units, limits and annotations are the board's."""

import io
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import numpy as np
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.dates import DateFormatter, HourLocator
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter
from PIL import Image

from handler.files import write_atomic
from tests.monitoring.pictures.queried import Drawn

FOOTER = "Drawn by catsdogs from the board's own queries; not a screenshot of Grafana"
COLUMNS, WIDTH_IN, UNIT_IN, HEAD_IN, FOOT_IN, DPI = 24, 14.0, 0.29, 0.45, 0.35, 100
# Colours of the PNG: lines and text need few, and the file is a third of the size.
COLOURS = 64
# Lines with a name of their own, and letters of a legend across the whole board.
MOST_NAMES, ROOM = 9, 240
PALETTE = ("#3274d9", "#e0752d", "#3f9142", "#b877d9", "#c4162a", "#0b7285", "#ad8b00", "#6e6e6e")
LEVELS = {"green": "#3f9142", "red": "#c4162a", "blue": "#3274d9"}
Marks = Sequence[tuple[str, float, float]]


def short(value: float, unit: str) -> str:
    """Return a value with its unit, as Grafana names units."""
    if unit == "percentunit":
        return f"{value * 100:.0f} %" if abs(value) >= 1 else f"{value * 100:.3g} %"
    if unit == "s":
        return "0 s" if value == 0 else f"{value * 1000:.3g} ms" if abs(value) < 1 else f"{value:.3g} s"
    return f"{value:.3g} req/s" if unit == "reqps" else f"{value:.4g}"


def level(value: float, steps: list[dict[str, object]]) -> str:
    """Return the colour of a value by the panel's thresholds."""
    colour = "green"
    for step in steps:
        least = step.get("value")
        if least is None or (isinstance(least, int | float) and value >= least):
            colour = str(step["color"])
    return LEVELS[colour]


def paint(panels: Sequence[Drawn], marks: Marks, title: str, begin: int, end: int, out: Path) -> None:
    """Write the panels as a PNG, each where the board's grid has it."""
    top = min(panel.place[1] for panel in panels)
    rows = max(panel.place[1] + panel.place[3] for panel in panels) - top
    height = rows * UNIT_IN + HEAD_IN + FOOT_IN
    figure = Figure(figsize=(WIDTH_IN, height), dpi=DPI, facecolor="white")
    figure.text(0.008, 1 - HEAD_IN / 2 / height, title, fontsize=13, weight="bold", va="center")
    figure.text(0.008, FOOT_IN / 2 / height, FOOTER, fontsize=9, va="center", color="#444444")
    for panel in panels:
        x, y, wide, high = panel.place
        lower = 1 - (HEAD_IN + (y - top + high) * UNIT_IN) / height
        box = (x / COLUMNS, lower, wide / COLUMNS, high * UNIT_IN / height)
        if panel.panel["type"] == "row":
            folded = " (collapsed)" if panel.panel.get("collapsed") else ""
            at = box[1] + box[3] / 2
            figure.text(0.008, at, f"{panel.panel['title']}{folded}", fontsize=11, weight="bold", va="center")
            continue
        room = (UNIT_IN * 0.45 / WIDTH_IN, UNIT_IN / height)
        inner = (box[0] + 2.6 * room[0] * 1.6, box[1] + 1.9 * room[1], box[2] - 5.4 * room[0], box[3] - 3.2 * room[1])
        axes = figure.add_axes(inner)
        axes.set_title(panel.panel["title"], fontsize=10, loc="left", weight="bold")
        if panel.panel["type"] == "stat":
            figures(axes, panel)
        else:
            graph(axes, panel, marks, begin, end)
    save(figure, out)


def figures(axes: Axes, panel: Drawn) -> None:
    """Draw the last value of each line, in the colour of its level."""
    defaults = panel.panel["fieldConfig"]["defaults"]
    axes.axis("off")
    count = max(1, len(panel.lines))
    columns = min(4 if max(len(name) for name, _ in panel.lines) < 25 else 2, count)
    for index, (name, points) in enumerate(panel.lines):
        x, y = index % columns, index // columns
        lines = -(-count // columns)
        at = ((x + 0.5) / columns, 1 - (y + 0.5) / lines)
        value = points[-1][1]
        colour = level(value, defaults["thresholds"]["steps"])
        if count > 8:  # one line each
            text = f"{short(value, defaults['unit'])}  {name}"
            axes.text(x / columns, at[1], text, fontsize=8.5, color=colour, va="center")
            continue
        axes.text(*at, short(value, defaults["unit"]), fontsize=17, color=colour, ha="center", va="bottom")
        axes.text(*at, name or "alerts", fontsize=8, ha="center", va="top", color="#333333")


def graph(axes: Axes, panel: Drawn, marks: Marks, begin: int, end: int) -> None:
    """Draw lines over time, or areas on each other where the panel is stacked."""
    defaults = panel.panel["fieldConfig"]["defaults"]
    custom = defaults.get("custom", {})
    unit = defaults["unit"]
    if custom.get("stacking", {}).get("mode") == "normal":
        stack(axes, panel)
    else:
        for index, (name, points) in enumerate(panel.lines):
            times = [datetime.fromtimestamp(at, UTC) for at, _ in points]
            axes.plot(
                times,  # type: ignore[arg-type]
                [value for _, value in points],
                lw=1.1,
                color=PALETTE[index % len(PALETTE)],
                label=name,
            )
    if not panel.lines:
        axes.text(0.5, 0.5, "No data", transform=axes.transAxes, ha="center", color="#777777")
    for colour in {colour for colour, _, _ in marks}:
        for first, last in joined([(first, last) for own, first, last in marks if own == colour]):
            lower, upper = datetime.fromtimestamp(first, UTC), datetime.fromtimestamp(last, UTC)
            axes.axvspan(lower, upper, color=LEVELS[colour], alpha=0.13, lw=0)  # type: ignore[arg-type]
    axes.set_ylim(bottom=0)
    if custom.get("thresholdsStyle") and axes.get_ylim()[1] > 0:
        limit = defaults["thresholds"]["steps"][-1]["value"]
        axes.set_ylim(top=max(axes.get_ylim()[1], limit * 1.1))
        axes.axhline(limit, color=LEVELS["red"], ls="--", lw=0.9)
    axes.set_xlim(datetime.fromtimestamp(begin, UTC), datetime.fromtimestamp(end, UTC))  # type: ignore[arg-type]
    axes.xaxis.set_major_locator(HourLocator())  # type: ignore[no-untyped-call]
    axes.xaxis.set_major_formatter(DateFormatter("%H:%M"))  # type: ignore[no-untyped-call]
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: short(value, unit)))
    axes.tick_params(labelsize=7.5, length=2)
    axes.grid(color="#e3e3e3", lw=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    if panel.lines:
        legend(axes, panel)


def legend(axes: Axes, panel: Drawn) -> None:
    """Draw the legend; of many lines those that are always 0 are counted alone."""
    handles, labels = axes.get_legend_handles_labels()
    if len(labels) > MOST_NAMES:
        shown = [index for index, (_, points) in enumerate(panel.lines) if any(value for _, value in points)]
        rest = f"and {len(labels) - len(shown)} at 0"
        handles, labels = (
            [*(handles[index] for index in shown), Line2D([], [], lw=0)],
            [labels[i] for i in shown] + [rest],
        )
    wide = max(map(len, labels)) + 5
    columns = min(len(labels), max(1, ROOM * panel.place[2] // COLUMNS // wide))
    small = {"fontsize": 7, "columnspacing": 1, "handlelength": 1.2, "frameon": False}
    axes.legend(handles, labels, loc="upper center", bbox_to_anchor=(0.5, -0.11), ncols=columns, **small)


def joined(spans: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return spans of time without overlaps."""
    made: list[tuple[float, float]] = []
    for first, last in sorted(spans):
        if made and first <= made[-1][1]:
            made[-1] = (made[-1][0], max(last, made[-1][1]))
        else:
            made.append((first, last))
    return made


def stack(axes: Axes, panel: Drawn) -> None:
    moments = sorted({at for _, points in panel.lines for at, _ in points})
    times = [datetime.fromtimestamp(at, UTC) for at in moments]
    rows = [np.array([dict(points).get(at, 0.0) for at in moments]) for _, points in panel.lines]
    names = [name for name, _ in panel.lines]
    colours = [PALETTE[index % len(PALETTE)] for index in range(len(rows))]
    if rows:
        axes.stackplot(times, rows, labels=names, colors=colours, alpha=0.55, lw=0)  # type: ignore[arg-type]


def save(figure: Figure, out: Path) -> None:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    pyplot.close("all")
    small, packed = Image.open(buffer).convert("RGB").quantize(COLOURS), io.BytesIO()
    small.save(packed, "PNG", optimize=True)
    write_atomic(out, packed.getvalue())
