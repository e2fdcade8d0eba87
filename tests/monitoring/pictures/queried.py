"""Panels of board.json with what their queries return, as Grafana would ask them."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tests.monitoring.blocks import Stored

NAMESPACE, RATE_INTERVAL, STEP_S = "pets", "1m", 60
LABEL = re.compile(r"\{\{\s*(\w+)\s*\}\}")
Line = tuple[str, list[tuple[float, float]]]
"""Legend, and pairs of time and value."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """A panel, or the head of a row, and its lines."""

    panel: dict[str, Any]
    lines: list[Line]

    @property
    def place(self) -> tuple[int, int, int, int]:
        """Return x, y, width and height in units of the board's grid."""
        where = self.panel["gridPos"]
        return where["x"], where["y"], where["w"], where["h"]


def filled(query: str) -> str:
    """Return a query of the board as Grafana sends it."""
    return query.replace("$namespace", NAMESPACE).replace("$__rate_interval", RATE_INTERVAL)


def legend(form: str, labels: dict[str, str]) -> str:
    return LABEL.sub(lambda match: labels.get(match[1], ""), form).strip()


def lines_of(prometheus: Stored, panel: dict[str, Any], begin: int, end: int) -> list[Line]:
    return [
        (legend(target["legendFormat"], labels), [pair for pair in points if pair[1] == pair[1]])
        for target in panel.get("targets") or []
        for labels, points in prometheus.range(
            filled(target["expr"]), end if target.get("instant") else begin, end, STEP_S
        )
    ]


def drawn(prometheus: Stored, board: dict[str, Any], begin: int, end: int) -> Iterator[Drawn]:
    """Yield the panels of the board from top to bottom; a collapsed row is its head alone."""
    for panel in board["panels"]:
        yield Drawn(panel, lines_of(prometheus, panel, begin, end))


def annotations(prometheus: Stored, board: dict[str, Any], begin: int, end: int) -> list[tuple[str, float, float]]:
    """Return colour, begin and end of each annotation."""
    found = []
    for one in board["annotations"]["list"]:
        for _, points in prometheus.range(filled(one["expr"]), begin, end, STEP_S):
            found.append((one["iconColor"], points[0][0], points[-1][0]))
    return found
