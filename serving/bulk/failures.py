"""Reasons to stop that the same command overcomes later."""


class Unavailable(Exception):
    """A place cannot be reached now. Its text is a sentence without a full stop."""


class Stopped(Exception):
    """SIGTERM or Ctrl-C came, and the part in hand is written. Its text says how far the work is."""

    def __init__(self, sentence: str, number: int) -> None:
        super().__init__(sentence)
        self.number = number
