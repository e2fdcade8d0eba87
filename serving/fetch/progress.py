"""Progress of a download: a bar on a terminal, a line every few seconds in a log."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

PERIOD_S = 5.0


class Lines:
    """Says how much has come, and how fast since the line before."""

    def __init__(self, say: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self.say, self.clock = say, clock
        self.at, self.had = clock(), -1

    def __call__(self, done: int, total: int | None) -> None:
        now = self.clock()
        # What was there before has no speed; nor has what is begun anew.
        if self.had < 0 or done < self.had:
            self.at, self.had = now, done
        if now - self.at < PERIOD_S:
            return
        of = f" of {total / 1e6:.1f}" if total else ""
        self.say(f"{done / 1e6:.1f}{of} MB, {(done - self.had) / 1e6 / (now - self.at):.1f} MB/s")
        self.at, self.had = now, done


@contextmanager
def show_progress(
    say: Callable[[str], None], stream: TextIO = sys.stderr
) -> Iterator[Callable[[int, int | None], None]]:
    if not stream.isatty():
        yield Lines(say)
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn, TransferSpeedColumn

    columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(file=stream), transient=True) as bar:
        task = bar.add_task("", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
