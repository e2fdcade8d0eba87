"""Messages to the person at the terminal, or to the log of a container."""

import sys

from common.text import printable_lines


def say(sentence: str) -> None:
    """Print a line of progress on standard error; standard output is for answers."""
    print(printable_lines(sentence), file=sys.stderr, flush=True)
