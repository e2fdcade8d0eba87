"""A limit on the rate of requests: a token bucket."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field

# So many seconds' worth may come at once.
BURST_S = 2.0


@dataclass(slots=True)
class Rate:
    """So many requests per second, over the whole process."""

    per_second: float
    clock: Callable[[], float] = time.monotonic
    left: float = field(init=False)
    last: float = field(init=False)

    def __post_init__(self) -> None:
        self.left, self.last = self.burst, self.clock()

    @property
    def burst(self) -> float:
        return max(1.0, BURST_S * self.per_second)

    def take(self) -> int:
        """Take room for one request. Return 0, or the seconds after which there is some."""
        now = self.clock()
        self.left, self.last = min(self.burst, self.left + (now - self.last) * self.per_second), now
        if self.left < 1:
            return max(1, math.ceil((1 - self.left) / self.per_second))
        self.left -= 1
        return 0
