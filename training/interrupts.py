"""Ctrl-C, which a terminal sends to all processes of a command: the first one ends the others."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def held_back() -> Iterator[None]:
    """Processes started meanwhile stay deaf to Ctrl-C: to stop is the parent's task."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
