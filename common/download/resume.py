"""A download that resumes after a break, until the file has the SHA-256 that it should have."""

import random
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from common.download.failures import Again, CutOff, GivenUp, Late, OtherFile, Refused, TooLarge
from common.download.part import Part
from common.download.transfer import Answer, Source, Transfer

LONGEST_WAIT_S = 30.0
# What names a version of a file, and is sent back to the server with the next request.
MOST_VALIDATOR = 1000
# Beside 5xx: of a bucket that limits its rate, of a proxy that lost its patience.
PASSING = (408, 425, 429)
CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,18})-[0-9]{1,18}/([0-9]{1,18}|\*)")

Progress = Callable[[int, int | None], None]
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of a download."""

    seconds: float = 600.0
    """In all, whatever happens."""
    bytes: int = 4 << 30
    """An endless answer must not fill the disk."""
    first_wait_s: float = 1.0
    """Between two tries; doubled with each that brings nothing."""
    idle_s: float = 60.0
    """Without anything that brings a try forward; a server may send bytes that do not."""
    vain_tries: int | None = None
    """Tries in a row that may bring nothing; None ends them by the time alone."""


class Download:
    """One file, from its source into its part file."""

    def __init__(
        self, source: Source[Any], part: Part, limits: Limits, deadline: float, progress: Progress, say: Say
    ) -> None:
        self.source, self.part, self.limits, self.deadline = source, part, limits, deadline
        self.progress, self.say = progress, say
        self.tries = 0
        self.total: int | None = None
        self.validator = ""
        # Whether all bytes are known to be of one file: not those that another process left.
        self.sure = not part.size

    def run_whole(self) -> None:
        """Fill the part file with whatever the source has now, from its beginning.

        Raises:
            Failure: the file did not come.
        """
        self._start_over()
        self._persist(None)

    def run(self, sha256: str, size: int | None = None) -> None:
        """Fill the part file.

        Args:
            sha256: of the whole file.
            size: of the whole file, where it is known: a shorter answer was cut off.

        Raises:
            Failure: the file did not come, or is another one.
        """
        if self.part.size:
            # It was stopped between its last byte and its new name.
            if self.part.sha256() == sha256:
                return
            self.say(f"Resuming at {megabytes(self.part.size)} MB.")
        self._persist(size)
        digest = self.part.sha256()
        if digest != sha256 and not self.sure:
            self.say("The part downloaded earlier does not match the rest: starting over.")
            self._start_over()
            self._persist(size)
            digest = self.part.sha256()
        if digest != sha256:
            raise OtherFile(digest)

    def _persist(self, size: int | None) -> None:
        """Try until an answer has come whole."""
        vain = 0
        while True:
            before = self.part.size
            self.tries += 1
            try:
                self._try()
                if size is not None and self.part.size < size:
                    raise CutOff("the server ended the answer too early")
                return
            except Again as error:
                again = error
            except Late:
                reason = "it comes too slowly" if self.part.size > before else "no answer came"
                raise GivenUp(reason, self.tries) from None
            reason = again.reason
            if isinstance(again, CutOff) and self.total:
                reason = f"it was cut off at {self.part.size} of {self.total} bytes"
            vain = 0 if self.part.size > before else vain + 1
            wait = min(self.limits.first_wait_s * 2 ** max(vain - 1, 0), LONGEST_WAIT_S) * random.uniform(0.5, 1)
            wait = max(wait, min(again.after_s, LONGEST_WAIT_S))
            if vain == self.limits.vain_tries or time.monotonic() + wait > self.deadline:
                raise GivenUp(reason, self.tries) from again
            self.say(f"{reason[:1].upper()}{reason[1:]}: trying again in {wait:.1f} s.")
            time.sleep(wait)

    def _try(self) -> None:
        headers = {"Accept-Encoding": "identity"}
        if self.part.size:
            headers["Range"] = f"bytes={self.part.size}-"
            if self.validator:
                headers["If-Range"] = self.validator
        with Transfer(self.source, headers, self.deadline, self.limits.idle_s) as transfer:
            answer = transfer.answer()
            self.total = self._place(answer)
            done = self.part.size
            self._check_size(self.total or done)
            self.progress(done, self.total)
            for block in transfer.blocks():
                done += len(block)
                self._check_size(done)
                self.part.append(block)
                self.progress(done, self.total)
                if time.monotonic() > self.deadline:
                    raise Late

    def _place(self, answer: Answer) -> int | None:
        """Make ready for what the answer brings, the rest or all of it.

        Returns:
            The size of the whole, where it is told.
        """
        status, headers, size = answer.status, answer.headers, self.part.size
        validator = validator_of(headers)
        if status == 200:
            if size:
                self.say("The server sends the whole file again: starting over.")
            self._start_over()
            self.validator = validator
            return int(headers["Content-Length"]) if "Content-Length" in headers else None
        if status == 206 and size:
            part_range = CONTENT_RANGE.fullmatch(headers.get("Content-Range", ""))
            changed = bool(self.validator) and validator != self.validator
            if part_range is None or int(part_range[1]) != size or changed:
                self._start_over()
                raise Again("it has changed" if changed else "the server sent another part than was asked for")
            self.sure = self.sure and bool(self.validator)
            self.validator = validator
            return None if part_range[2] == "*" else int(part_range[2])
        if status == 416 and size:
            self._start_over()
            raise Again("it is not longer than the part downloaded earlier")
        if status in PASSING or status >= 500:
            after = headers.get("Retry-After", "")
            raise Again(f"the server answers {answer.explained}", float(after) if after.isdecimal() else 0.0)
        raise Refused(f"the server answers {answer.explained}")

    def _start_over(self) -> None:
        self.part.clear()
        self.validator, self.sure = "", True

    def _check_size(self, size: int) -> None:
        if size > self.limits.bytes:
            self.part.clear()
            raise TooLarge(size)


def megabytes(size: int) -> str:
    return f"{size / 1e6:.1f}"


def validator_of(headers: Mapping[str, str]) -> str:
    """Return what says of two answers that they are of one file, where there is any. A weak ETag says less."""
    tag = headers.get("ETag", "")
    validator = tag if tag.startswith('"') else headers.get("Last-Modified", "")
    usable = validator.isascii() and validator.isprintable() and len(validator) <= MOST_VALIDATOR
    return validator if usable else ""
