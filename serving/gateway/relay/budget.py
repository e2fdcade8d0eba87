"""Admission control: how many requests, and how many bytes of their bodies, the server holds at once.

When there is no room, the oldest upload that is not complete is refused: a client that sends slowly, or never ends,
makes room for one that sends now. A request whose body is complete is never refused.
"""

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

MAX_REQUESTS = 256
MAX_BYTES = 96 << 20
# Bodies above LARGE may take so much of it, so that ordinary pictures find room beside the largest ones.
LARGE = 1 << 20
MAX_LARGE_BYTES = 72 << 20
# A younger upload is not refused to make room for a new request: its client sends as fast as it can.
YOUNG_S = 1.0


class Overloaded(Exception):
    """There is no room for this request."""


@dataclass(eq=False, slots=True)
class Ticket:
    """A request that was admitted; a context manager, which gives its room back."""

    budget: "Budget"
    started: float
    size: int = 0
    complete: bool = False
    refused: bool = False
    interrupt: Callable[[], object] | None = None
    """Wakes whoever waits for more of the body."""

    def grow(self, count: int) -> None:
        """Take room for `count` bytes more.

        Raises:
            Overloaded: there is none, or this upload had to make room for others.
        """
        self.budget.grow(self, count)

    def finish(self) -> None:
        """The body is complete: from now on this request is not refused."""
        if self.refused:
            raise Overloaded
        self.complete = True

    def refuse(self) -> None:
        """Give the room back now, and wake the upload, which ends with Overloaded."""
        self.refused = True
        self.budget.release(self)
        if self.interrupt is not None:
            self.interrupt()

    def __enter__(self) -> "Ticket":
        return self

    def __exit__(self, *reason: object) -> None:
        self.budget.release(self)


@dataclass(slots=True)
class Budget:
    """Limits of the server as a whole. Not thread-safe: use it in one event loop."""

    max_requests: int = MAX_REQUESTS
    max_bytes: int = MAX_BYTES
    max_large_bytes: int = MAX_LARGE_BYTES
    clock: Callable[[], float] = time.monotonic
    tickets: dict[Ticket, None] = field(default_factory=dict)
    """In the order of their admission."""
    bytes: int = 0
    large_bytes: int = 0

    def admit(self) -> Ticket:
        """Admit one request.

        Raises:
            Overloaded: as many as may be are here, and each is complete or young.
        """
        now = self.clock()
        if len(self.tickets) >= self.max_requests:
            oldest = self._oldest_upload()
            if oldest is None or now - oldest.started < YOUNG_S:
                raise Overloaded
            oldest.refuse()
        ticket = Ticket(self, now)
        self.tickets[ticket] = None
        return ticket

    def grow(self, ticket: Ticket, count: int) -> None:
        if ticket.refused:
            raise Overloaded
        before = _large(ticket.size)
        ticket.size += count
        self.bytes += count
        self.large_bytes += _large(ticket.size) - before
        while self.bytes > self.max_bytes or self.large_bytes > self.max_large_bytes:
            victim = self._oldest_upload(large=self.bytes <= self.max_bytes) or ticket
            if victim is ticket:
                victim.refused = True
                self.release(victim)
                raise Overloaded
            victim.refuse()

    def release(self, ticket: Ticket) -> None:
        with suppress(KeyError):
            del self.tickets[ticket]
            self.bytes -= ticket.size
            self.large_bytes -= _large(ticket.size)

    def _oldest_upload(self, large: bool = False) -> Ticket | None:
        uploads = (ticket for ticket in self.tickets if not ticket.complete and ticket.size > (LARGE if large else -1))
        return next(uploads, None)


def _large(size: int) -> int:
    return size if size > LARGE else 0
