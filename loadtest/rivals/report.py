"""Report of the comparison, medians and ratios over the rounds: rivals.json, rivals.md and rivals.png."""

import dataclasses
import json
import math
import os
import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from handler.files import write_atomic
from loadtest.judge.machine import processor, revision, stolen
from loadtest.report.words import NOTHING, TIMES, duration
from loadtest.rivals.closed import Loop
from loadtest.rivals.peers import OURS, PEERS

LIMIT = "the same handler, no server"
# Whose throughput is compared.
CLIENTS = 8
WIDTH, BAR = 7.6, 0.55


@dataclass(frozen=True, slots=True)
class Measured:
    """One server in one round."""

    server: str
    turn: int
    loops: tuple[Loop, ...]
    start_s: float | None
    memory_mib: float | None

    def loop(self, clients: int) -> Loop:
        return next(loop for loop in self.loops if loop.clients == clients)


Value = Callable[[Measured], float]


def write(results: Sequence[Measured], folder: Path, before: tuple[float, float]) -> None:
    """
    Args:
        before: what `loadtest.judge.machine.stolen` said at the start.
    """
    folder.mkdir(parents=True, exist_ok=True)
    now = stolen()
    values = {
        "schema_version": 1,
        "git": revision(),
        "machine": {
            "processors": os.cpu_count(),
            "processor": processor(),
            "python": platform.python_version(),
            "stolen": round((now[0] - before[0]) / max(now[1] - before[1], 0.01), 3),
        },
        "measured": [dataclasses.asdict(result) for result in results],
    }
    text = json.dumps(values, indent=1).replace("NaN", "null")
    write_atomic(folder / "rivals.json", text.encode() + b"\n")
    write_atomic(folder / "rivals.md", table(results).encode())
    draw(results, folder / "rivals.png")


def table(results: Sequence[Measured]) -> str:
    """Return a table in Markdown: medians over the rounds, and the median ratio of our rate to each other server's."""
    lines = [
        f"| server | 1 client, p50 | {CLIENTS} clients | p50 / p99 | 32 clients | start | memory | ours at {CLIENTS} |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name in names(results):
        rows = [result for result in results if result.server == name]
        if name == LIMIT:
            cells = [NOTHING, rate(rows, CLIENTS), NOTHING, NOTHING, NOTHING, NOTHING]
        else:
            cells = [
                duration(median(result.loop(1).p50 for result in rows)),
                rate(rows, CLIENTS),
                " / ".join(
                    duration(median(getattr(result.loop(CLIENTS), field) for result in rows))
                    for field in ("p50", "p99")
                ),
                rate(rows, 32),
                duration(median(result.start_s or math.nan for result in rows)),
                f"{median(result.memory_mib or math.nan for result in rows):.0f} MiB",
            ]
        cells.append(f"{TIMES}{ratio(results, name, throughput):.2f}" if name != OURS.name else NOTHING)
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines).replace("\u00a0", " ") + "\n"


def rate(rows: Sequence[Measured], clients: int) -> str:
    rates = [result.loop(clients).rate for result in rows]
    return f"{median(rates):.1f}/s ({min(rates):.1f} to {max(rates):.1f})"


def names(results: Sequence[Measured]) -> list[str]:
    there = {result.server for result in results}
    return [name for name in (LIMIT, *(peer.name for peer in PEERS)) if name in there]


def throughput(result: Measured) -> float:
    return result.loop(CLIENTS).rate


def ratio(results: Sequence[Measured], name: str, value: Value) -> float:
    """Return our value divided by the other server's: the median over the rounds in which both were measured."""
    mine, theirs = (
        {result.turn: value(result) for result in results if result.server == server} for server in (OURS.name, name)
    )
    return median(mine[turn] / theirs[turn] for turn in mine.keys() & theirs.keys())


def draw(results: Sequence[Measured], path: Path) -> None:
    """Throughput as bars, and each round as a point."""
    from matplotlib.figure import Figure

    shown = names(results)
    figure = Figure(figsize=(WIDTH, BAR * len(shown) + 0.9), layout="constrained", dpi=150)
    axes = figure.subplots()
    for place, name in enumerate(reversed(shown)):
        rates = [throughput(result) for result in results if result.server == name]
        colour = "#2f6f4f" if name == OURS.name else "#c9c4ba"
        axes.barh(place, median(rates), height=0.62, color=colour)
        axes.plot(rates, [place] * len(rates), "o", color="#333333", markersize=3.5, alpha=0.7)
        axes.annotate(
            f" {median(rates):.0f}", (max(rates), place), xytext=(4, 0), textcoords="offset points", va="center"
        )
    axes.set_yticks(range(len(shown)), reversed(shown))
    axes.set_xlabel(f"photographs per second, {CLIENTS} clients; points are rounds")
    axes.margins(x=0.09)
    axes.set_xlim(left=0)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.tick_params(axis="y", length=0)
    figure.savefig(path, metadata={"Software": None})
