"""Panels of the board, and the parts that their queries are made of."""

from dataclasses import dataclass
from typing import Literal

HERE = 'namespace=~"$namespace"'
# Recorded series have the label namespace where the rules were made with it, as the chart makes them.
RECORDED = 'namespace=~"$namespace|"'
RATE = "$__rate_interval"


@dataclass(frozen=True, slots=True)
class Panel:
    title: str
    unit: str
    """Grafana's name of the unit."""
    queries: dict[str, str]
    """Queries by their legend."""
    description: str
    kind: Literal["timeseries", "stat"] = "timeseries"
    line: float | None = None
    """Where a line is drawn: an objective or a limit."""
    width: int = 8
    stacked: bool = False
    good: Literal["low", "high"] = "low"
    """The side of the line that is good."""


@dataclass(frozen=True, slots=True)
class Row:
    title: str
    panels: tuple[Panel, ...]
    collapsed: bool = False


def named(name: str, *matchers: str) -> str:
    return f"{name}{{{','.join((HERE, *matchers))}}}"


def recorded(name: str) -> str:
    return f"{name}{{{RECORDED}}}"


def rate(name: str, *matchers: str) -> str:
    return f"rate({named(name, *matchers)}[{RATE}])"


def mean(name: str, by: str = "") -> str:
    return f"sum by ({by}) ({rate(f'{name}_sum')}) / sum by ({by}) ({rate(f'{name}_count')})"


def quantile(share: float, name: str, by: str = "", *matchers: str) -> str:
    labels = ", ".join(filter(None, ("le", by)))
    return f"histogram_quantile({share}, sum by ({labels}) ({rate(f'{name}_bucket', *matchers)}))"
