"""The picture of the server's cost: a stacked bar of CPU time per request for each server and number of clients."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from loadtest.stages.measure import CPU_STAGES, Cost

WIDTH, BAR = 7.6, 0.42
# Where a part is narrower than this share of the axis, its number would not fit.
LEAST_LABEL = 0.045
COLOURS = {
    "network": "#2f6f4f",
    "decode": "#7fb08f",
    "answer": "#f0d58c",
    "worker protocol": "#e0a458",
    "java": "#c8553d",
    "relay": "#8c4a6b",
    "gateway": "#4a6fa5",
    "launcher": "#333333",
    "load generator": "#d8d4cc",
}


def draw(results: Mapping[str, Sequence[Cost]], path: Path) -> None:
    """Draw the bars: green is what the same pipeline costs without a server, grey the load generator's own."""
    from matplotlib.figure import Figure

    bars = [
        (name, cost)
        for clients in zip(*results.values(), strict=True)
        for name, cost in zip(results, clients, strict=True)
    ]
    figure = Figure(figsize=(WIDTH, BAR * len(bars) + 1.5), layout="constrained", dpi=150)
    axes: Any = figure.subplots()
    longest = max(sum(cost.cpu_ms.values()) for _, cost in bars)
    for place, (_, cost) in enumerate(reversed(bars)):
        left = 0.0
        for stage in CPU_STAGES:
            width = cost.cpu_ms[stage]
            label = stage if place == 0 else None
            axes.barh(place, width, left=left, height=0.66, color=COLOURS[stage], label=label)
            if width > LEAST_LABEL * longest:
                axes.annotate(f"{width:.1f}", (left + width / 2, place), ha="center", va="center", fontsize=8)
            left += width
    axes.set_yticks(range(len(bars)), [title(name, cost, len(results) > 1) for name, cost in reversed(bars)])
    axes.set_xlabel("CPU milliseconds per request")
    axes.set_xlim(left=0)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.tick_params(axis="y", length=0)
    figure.legend(loc="outside upper center", ncols=5, frameon=False, fontsize=8)
    figure.savefig(path, metadata={"Software": None})


def title(name: str, cost: Cost, several: bool) -> str:
    clients = "1 client" if cost.clients == 1 else f"{cost.clients} clients"
    return f"{clients}, {name}" if several else clients
