"""Progress of a test, as one line: rewritten in place on a terminal, elsewhere printed every ten seconds."""

import sys
from collections import Counter
from typing import TextIO

from loadtest.generate.recorder import Collector
from loadtest.settings import Settings

EVERY_S = 10


class Progress:
    def __init__(self, settings: Settings, stream: TextIO = sys.stderr) -> None:
        self.settings, self.stream = settings, stream
        self.last = -EVERY_S
        self.width = 0

    def show(self, collector: Collector, start: int, elapsed: float) -> None:
        if not self.stream.isatty() and elapsed < self.last + EVERY_S:
            return
        self.last = int(elapsed)
        line = describe(self.settings, collector, start, elapsed)
        if self.stream.isatty():
            print(f"\r{line:<{self.width}}", end="", file=self.stream, flush=True)
            self.width = len(line)
        else:
            print(line, file=self.stream, flush=True)

    def close(self) -> None:
        if self.stream.isatty() and self.width:
            print(file=self.stream, flush=True)


def describe(settings: Settings, collector: Collector, start: int, elapsed: float) -> str:
    second = start + int(elapsed) - 2  # the last one that all processes have reported
    total: Counter[str] = Counter()
    due = 0
    for name in collector.names():
        total += collector.total(name, [at for at, own in collector.counts if own == name])
        due += collector.total(name, [second])["due"]
    stage = next((stage.name for stage in settings.stages if elapsed < stage.end), "finishing")
    of = f" of {settings.end:.0f}" if settings.stages else ""
    in_flight = sum(collector.under_way.values())
    return (
        f"{max(elapsed, 0):4.0f}{of} s  {stage:<10} {due:4d}/s  answered {total['answered']}, failed {total['failed']},"
        f" slow {total['slow']}, dropped {total['dropped']}, in flight {in_flight}"
    )
