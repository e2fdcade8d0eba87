"""Trials and result of a search for a server's capacity, in seconds and requests per second."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Trial:
    """A short load at one rate."""

    rate: float
    """Rate that was asked for."""
    achieved: float
    """Rate of answers."""
    p50: float
    """Not a number where nothing was answered, as is p99."""
    p99: float
    slow_share: float
    """Share of the requests that were answered too late or not at all."""
    failed_share: float
    """Share of the requests that were refused, or not answered at all."""
    requests: int
    verdict: str
    kind: Literal["search", "confirm"]


@dataclass(frozen=True, slots=True)
class Capacity:
    """The capacity by one protocol: the highest rate at which its objectives were kept."""

    protocol: str
    threshold: float
    objective: float
    """Required share of requests that are answered within the threshold."""
    availability: float
    """Required share of requests that are answered."""
    confirmed: float | None
    """None where no rate was confirmed, or not yet."""
    lowest_breached: float | None
    """None where no rate breached an objective: the capacity is then higher than all rates that were tried."""
    trials: tuple[Trial, ...]
    sentence: str
    """The result in words."""
    finished: bool = True
    """False while the search is going on, and where it was stopped."""
