"""The ways in which a download fails. The caller makes the sentence that a user reads."""


class Again(Exception):
    """A failure that another try may mend."""

    def __init__(self, reason: str, after_s: float = 0.0) -> None:
        super().__init__(reason)
        self.reason, self.after_s = reason, after_s


class CutOff(Again):
    """An answer that ended too early."""


class Late(Exception):
    """The time for all tries is over."""


class Failure(Exception):
    """A download that failed for good. Its text is the reason, without a full stop."""


class Busy(Failure):
    """Another process writes the same file. Its text is a sentence."""


class Refused(Failure):
    """The server refuses, or cannot be asked."""


class GivenUp(Failure):
    """The time is over, or several tries in a row brought nothing. What came is kept."""

    def __init__(self, reason: str, tries: int) -> None:
        super().__init__(reason)
        self.tries = tries


class TooLarge(Failure):
    """The file is larger than it may be. Nothing is kept."""

    def __init__(self, size: int) -> None:
        super().__init__(f"it has {size} bytes or more")
        self.size = size


class OtherFile(Failure):
    """The file that came has another SHA-256. It is kept for the caller to look at."""

    def __init__(self, sha256: str) -> None:
        super().__init__(f"its sha256 is {sha256}")
        self.sha256 = sha256
