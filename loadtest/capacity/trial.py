"""How much it can do: what a search for a server's capacity tried and found. Seconds, and requests per second."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Trial:
    """A short load at one rate."""

    rate: float
    """That was asked for."""
    achieved: float
    """That was answered."""
    p50: float
    """Not a number where nothing was answered, as is p99."""
    p99: float
    slow_share: float
    """Of the requests, those that were answered too late or not at all."""
    failed_share: float
    """Those that were refused, or not answered at all."""
    requests: int
    verdict: str
    kind: Literal["search", "confirm"]


@dataclass(frozen=True, slots=True)
class Capacity:
    """Of one protocol: the highest rate at which its objectives were kept."""

    protocol: str
    threshold: float
    objective: float
    """Of requests that are answered within the threshold."""
    availability: float
    """Of requests that are answered."""
    confirmed: float | None
    """None where no rate was confirmed, or not yet."""
    lowest_breached: float | None
    """None where none was, so that the capacity is higher than what was tried."""
    trials: tuple[Trial, ...]
    sentence: str
    """For people."""
    finished: bool = True
    """Else the search was going on, or was stopped."""
