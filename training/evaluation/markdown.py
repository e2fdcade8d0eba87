"""Parts of a model card in Markdown: sections, tables, numbers, names."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Figures = Mapping[str, Any]


def section(title: str, text: str, rows: Sequence[object]) -> str:
    return f"## {title}\n\n{text}" if rows else ""


def escaped(text: str) -> str:
    """A name that a user chose, in Markdown: no sign of it is markup, and it stays on its line."""
    line = "".join(sign if sign.isprintable() else " " for sign in text)
    return re.sub(r"([\\`*_\[\]<>|#~$&])", r"\\\1", line)


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    cells = [[re.sub(r"(?<!\\)\|", r"\\|", cell) for cell in line] for line in (header, ["---"] * len(header), *rows)]
    return "\n".join(f"| {' | '.join(line)} |" if any(line) else "|" + " |" * len(line) for line in cells)


def percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.2f} %"


def decimal(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def interval(figures: Figures) -> str:
    return f"{percent(figures['low'])} to {percent(figures['high'])}"


def with_interval(figures: Figures | None, count: str = "count") -> str:
    if figures is None:
        return ""
    low, high = 100 * figures["low"], 100 * figures["high"]
    return f"{percent(figures['share'])} ({low:.2f} to {high:.2f}, n = {figures[count]})"


def bounds(row: Figures) -> str:
    above, up_to = row["above"], row["up_to"]
    if above is None:
        return f"up to {up_to:.4g}"
    return f"above {above:.4g}" if up_to is None else f"{above:.4g} to {up_to:.4g}"
