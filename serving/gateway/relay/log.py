"""The relay's lines on standard error: one for each failure of the server's, and one for each request on demand.

No picture, no key and no header of a client's but the request id, which the gateway has checked, is ever written.
"""

import json
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TextIO

# Of failures: so much at once, and then so much a second (86 MB a day), whatever clients do.
BURST = 64 << 10
RATE = 1_000
# The server's own fault, or none of its workers in time. What is refused because there is no room is no failure.
FAILURES = (500, 504)


@dataclass(slots=True)
class Log:
    """Writes lines of JSON."""

    access: bool = False
    """Whether each request is written, which no rate limits."""
    stream: TextIO = field(default_factory=lambda: sys.stderr)
    clock: Callable[[], float] = time.monotonic
    left: float = BURST
    last: float = field(init=False)
    dropped: int = 0

    def __post_init__(self) -> None:
        self.last = self.clock()

    def request(self, status: int, entry: Mapping[str, object]) -> None:
        """Write a request's line, where one is wanted."""
        if self.access:
            self._write(json.dumps({"event": "request", "status": status, **entry}, separators=(",", ":")))
        elif status in FAILURES:
            self._write_bounded(json.dumps({"event": "failure", "status": status, **entry}, separators=(",", ":")))

    def note(self, entry: Mapping[str, object]) -> None:
        """Write a line about something else that failed."""
        self._write_bounded(json.dumps(entry, separators=(",", ":")))

    def _write_bounded(self, line: str) -> None:
        now = self.clock()
        self.left, self.last = min(BURST, self.left + (now - self.last) * RATE), now
        if self.left < len(line) + 1:
            self.dropped += 1
            return
        if self.dropped:
            line = f'{line}\n{{"event":"dropped","lines":{self.dropped}}}'
            self.dropped = 0
        self.left -= len(line) + 1
        self._write(line)

    def _write(self, line: str) -> None:
        # A full disk, or a pipe whose reader has gone, is no reason to lose an answer.
        with suppress(OSError):
            self.stream.write(line + "\n")
            self.stream.flush()
