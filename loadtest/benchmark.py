"""The frame of the benchmarks: a user's mistakes, Ctrl-C and SIGTERM end them without leaving servers behind."""

import argparse
import signal
import sys
from collections.abc import Callable
from types import FrameType

from common.verdicts import WRONG_USAGE
from handler.files import UserError


def run_benchmark(run: Callable[[argparse.Namespace], int], options: argparse.Namespace) -> int:
    """Run a benchmark and return its exit status: 2 after a user's mistake, 130 after Ctrl-C, 143 after SIGTERM.

    Both signals raise KeyboardInterrupt, so that `with` blocks stop the servers. A shell lets its background jobs
    ignore Ctrl-C, and SIGTERM would end Python without leaving those blocks.
    """
    received: list[int] = []

    def stop(number: int, frame: FrameType | None) -> None:
        received.append(number)
        raise KeyboardInterrupt

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    try:
        return run(options)
    except UserError as error:
        print(f"catsdogs: {error}", file=sys.stderr)
        return WRONG_USAGE
    except KeyboardInterrupt:
        print("Stopped. The results of complete rounds are kept.", file=sys.stderr)
        return 128 + (received[0] if received else signal.SIGINT)
