"""Report of the scaling: scaling.json, scaling.md and scaling.png."""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from common.verdicts import Verdict
from handler.files import UserError, write_atomic
from loadtest.report.words import percent, plain
from loadtest.rivals.report import Setting
from loadtest.scaling.points import (
    MAX_DEPARTURE,
    Point,
    counts,
    is_allowed,
    objections,
    rates,
    table,
    units,
    verdict_of,
)

SIZE = (4.2, 3.4)


def write(points: Sequence[Point], folder: Path, setting: Setting) -> Verdict:
    """Write the report, and return its verdict."""
    folder.mkdir(parents=True, exist_ok=True)
    verdict, reasons = verdict_of(points), objections(points)
    values = {
        "schema_version": 1,
        "verdict": verdict,
        "reasons": reasons,
        "setting": dataclasses.asdict(setting),
        "points": [dataclasses.asdict(point) for point in points],
    }
    write_atomic(folder / "scaling.json", json.dumps(values, indent=1).encode() + b"\n")
    head = (
        f"{setting.processor}, {setting.cores} cores; the host gave {percent(setting.stolen)} of the processor time to"
        f" other machines. git {setting.git or 'unknown'}."
    )
    why = "\n".join(f"- {reason}" for reason in reasons)
    result = (
        f"INVALID: these rounds allow no verdict. Measure again on a quiet machine.\n\n{why}" if reasons else verdict
    )
    write_atomic(folder / "scaling.md", plain(f"{head}\n\n{result}\n\n{table(points)}\n").encode())
    draw(points, folder / "scaling.png")
    return verdict


def read_points(path: Path) -> list[Point]:
    """Return the points of a file, a list of JSON objects or a scaling.json.

    Raises:
        UserError: it holds no points.
    """
    try:
        values = json.loads(path.read_text())
        return [Point(**value) for value in (values["points"] if isinstance(values, dict) else values)]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise UserError(f"{path} holds no points of scaling: {error}") from error


def draw(points: Sequence[Point], path: Path) -> None:
    """Draw the medians and the rounds beside the straight line and its 5 %; hollow is what the cores do not allow."""
    from matplotlib.figure import Figure

    shown = units(points)
    figure = Figure(figsize=(SIZE[0] * max(1, len(shown)), SIZE[1]), layout="constrained", dpi=150)
    for place, unit in enumerate(shown, 1):
        axes: Any = figure.add_subplot(1, len(shown), place)
        most, one = counts(points, unit)[-1], median(rates(points, unit, 1).values())
        line = [0, most * one]
        axes.plot([0, most], line, color="#888888", linewidth=1)
        low, high = ([share * value for value in line] for share in (1 - MAX_DEPARTURE, 1 + MAX_DEPARTURE))
        axes.fill_between([0, most], low, high, color="#888888", alpha=0.2, linewidth=0)
        for count in counts(points, unit):
            measured = list(rates(points, unit, count).values())
            filled = "#2f6f4f" if is_allowed(points, unit, count) else "white"
            axes.plot([count] * len(measured), measured, "o", color="#333333", markersize=3, alpha=0.6)
            axes.plot(count, median(measured), "o", color="#2f6f4f", markerfacecolor=filled, markersize=8, zorder=3)
        axes.set_xticks(counts(points, unit))
        axes.set_xlabel(unit)
        axes.set_ylabel("answers per second")
        axes.set_xlim(0, most * 1.08)
        axes.set_ylim(0)
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
    figure.savefig(path, metadata={"Software": None})
