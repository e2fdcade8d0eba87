"""Bounds on the CPU time of one request.

A few kilobytes can keep a decoder busy for hours, and TorchServe kills a worker that does not answer, with every row of
its batch.
"""

import signal
import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

# Where a decoder's C code or a destructor swallows the first signal, the next one comes after so much more.
AGAIN_S = 0.1


class Exhausted(BaseException):
    """The time is used up. Not an Exception: decoders take those for a broken part of a picture, and go on."""


def within(cpu_s: float, work: Callable[[], T]) -> T:
    """Return the result of `work`, and interrupt it when its CPU time is used up.

    Only a process's main thread can be interrupted; in another thread `work` is not limited.

    Raises:
        Exhausted: the process used more CPU time than `cpu_s` meanwhile.
    """
    if threading.current_thread() is not threading.main_thread():
        return work()
    armed = True

    def expire(number: int, frame: object) -> None:
        if armed:
            raise Exhausted

    before = signal.signal(signal.SIGPROF, expire)
    try:
        signal.setitimer(signal.ITIMER_PROF, cpu_s, AGAIN_S)
        return work()
    finally:
        # First, and by nothing that could be interrupted: a late signal must not keep the timer running.
        armed = False
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)
