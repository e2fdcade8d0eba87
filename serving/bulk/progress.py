"""Progress of a shard: a line every few seconds, with the rate and the time left."""

import time
from collections.abc import Callable

PERIOD_S = 10.0


class Progress:
    """Counts pictures, and says how far the work is.

    Args:
        work: the number of pictures in all, estimated where there are tars.
        exact: whether it is no estimate.
        done: what earlier runs have done of it.
    """

    def __init__(
        self,
        say: Callable[[str], None],
        work: int,
        exact: bool,
        done: int = 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.say, self.clock = say, clock
        self.work, self.exact = work, exact
        self.done = done
        self.pictures = self.errors = 0
        # From the first batch on, which comes when the models are loaded.
        self.started: float | None = None
        self.first = 0
        self.at = clock()

    def count(self, pictures: int, errors: int, skipped: int = 0) -> None:
        """Count a batch of pictures, with so many errors among them, and files that are no pictures."""
        self.pictures += pictures
        self.errors += errors
        self.done += pictures + skipped
        now = self.clock()
        if self.started is None:
            self.started, self.first = now, self.pictures
        if now - self.at >= PERIOD_S:
            self.at = now
            self.say(self.line())

    @property
    def rate(self) -> float:
        """Pictures per second in this run."""
        elapsed = 0.0 if self.started is None else self.clock() - self.started
        return (self.pictures - self.first) / elapsed if elapsed else 0.0

    def line(self) -> str:
        """Return how far the work is."""
        left = max(self.work - self.done, 0)
        share = min(1.0, self.done / self.work) if self.work else 1.0
        of = f"{self.done:,} of {self.work:,} pictures" if self.exact else f"{self.pictures:,} pictures"
        about = "" if self.exact else "about "
        parts = [f"{of} ({about}{share:.0%}), {self.rate:,.1f} pictures/s"]
        if self.rate:
            parts.append(f"{about}{duration(left / self.rate)} left")
        if self.errors:
            parts.append(f"{self.errors:,} without a prediction")
        return ", ".join(parts)


def duration(seconds: float) -> str:
    """Return a duration in its two largest units."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
