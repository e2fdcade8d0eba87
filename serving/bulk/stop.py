"""SIGTERM and Ctrl-C end the work after the part in hand; a second one ends it at once."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any


class Stop:
    """The signal that came, if any."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self.say = say
        self.number = 0
        self.before: dict[int, Any] = {}

    def note(self, number: int, frame: FrameType | None) -> None:
        """Handle a signal."""
        if self.number:
            self.before[number](number, frame)
            return
        self.number = number
        self.say(f"{signal.Signals(number).name}: finishing the part in hand. A second one ends at once.")

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Handle signals, except those that are ignored, as a shell lets its background jobs ignore Ctrl-C."""
        for number in (int(signal.SIGINT), int(signal.SIGTERM)):
            before = signal.getsignal(number)
            if before is not signal.SIG_IGN:
                self.before[number] = before if callable(before) else signal.default_int_handler
                signal.signal(number, self.note)
        try:
            yield
        finally:
            for number, handler in self.before.items():
                signal.signal(number, handler)
