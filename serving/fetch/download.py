"""An archive from a web server or a bucket: goes on after a break, and is there only when its sha256 is right."""

import random
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import httpx

from handler.files import UserError, sha256_file
from serving.fetch.part import Part
from serving.fetch.transfer import Again, Answer, Late, Source, Transfer, words_of
from serving.text import printable

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
    seconds: float = 600.0
    """In all, whatever happens."""
    bytes: int = 4 << 30
    """An endless answer must not fill the disk."""
    first_wait_s: float = 1.0
    """Between two tries; doubled with each that brings nothing."""
    idle_s: float = 60.0
    """Without anything that brings a try forward; a server may send bytes that do not."""


def fetch(source: Source, out: Path, sha256: str, limits: Limits, progress: Progress, say: Say) -> bool:
    """Fetches into a part file beside `out`, and renames it when its sha256 is right.

    What was cut off is gone on with: within the limit by itself, else when the command is given again. Of several
    processes with the same `out`, as on a node's cache, one fetches and the others wait for it.

    The limit of time holds whatever a server or a network does; what is done on this machine's disk is not counted.

    Args:
        progress: called with the bytes that are there, and those in all where they are known.

    Returns:
        False where `out` was there already.

    Raises:
        UserError: the server cannot be reached within the limit or refuses, or the file is another one.
    """
    try:
        return _fetch(source, out, sha256, limits, progress, lambda text: say(printable(text)))
    except UserError as error:
        raise UserError(printable(str(error))) from error


def _fetch(source: Source, out: Path, sha256: str, limits: Limits, progress: Progress, say: Say) -> bool:
    if out.is_dir():
        raise UserError(f"{out} is a folder: name the file to write the archive to.")
    if _is_there(out, sha256):
        return False
    out.parent.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + limits.seconds
    with Part(out, deadline, say) as part:
        # Another process may have been faster.
        if _is_there(out, sha256):
            part.clear()
            return False
        Download(source, part, limits, deadline, progress, say).run(sha256)
        part.keep()
    return True


def _is_there(out: Path, sha256: str) -> bool:
    return out.is_file() and sha256_file(out) == sha256


class Download:
    def __init__(
        self, source: Source, part: Part, limits: Limits, deadline: float, progress: Progress, say: Say
    ) -> None:
        self.source, self.part, self.limits, self.deadline = source, part, limits, deadline
        self.progress, self.say = progress, say
        self.tries = 0
        self.total: int | None = None
        self.validator = ""
        # Whether all bytes are known to be of one file: not those that another process left.
        self.sure = not part.size

    def run(self, sha256: str) -> None:
        if self.part.size:
            # It was stopped between its last byte and its new name.
            if self.part.sha256() == sha256:
                return
            self.say(f"Resuming at {megabytes(self.part.size)} MB.")
        self._persist()
        found = self.part.sha256()
        if found != sha256 and not self.sure:
            self.say("The part downloaded earlier does not match the rest: starting over.")
            self._start_over()
            self._persist()
            found = self.part.sha256()
        if found != sha256:
            kind = self.part.describe()
            self.part.clear()
            raise UserError(
                f"{self.source} is not the archive that was asked for: its sha256 is {found}, not {sha256}.{kind}"
            )

    def _persist(self) -> None:
        """Tries until an answer has come whole."""
        vain = 0
        while True:
            before = self.part.size
            self.tries += 1
            try:
                self._go_on()
                return
            except Again as error:
                again = error
            except Late:
                raise self._late("it comes too slowly" if self.part.size > before else "no answer came") from None
            except httpx.TransportError as error:
                if hint := _lasting(error):
                    raise UserError(f"{self.source} cannot be fetched: {hint}") from error
                again = Again(self._broken(error))
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                raise UserError(f"{self.source} cannot be fetched: {words_of(error)}") from error
            vain = 0 if self.part.size > before else vain + 1
            wait = min(self.limits.first_wait_s * 2 ** max(vain - 1, 0), LONGEST_WAIT_S) * random.uniform(0.5, 1)
            wait = max(wait, min(again.after_s, LONGEST_WAIT_S))
            if time.monotonic() + wait > self.deadline:
                raise self._late(again.reason)
            self.say(f"{again.reason[:1].upper()}{again.reason[1:]}: trying again in {wait:.1f} s.")
            time.sleep(wait)

    def _go_on(self) -> None:
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
        """Makes ready for what the answer brings, the rest or all of it.

        Returns:
            The size of the whole, where it is told.
        """
        status, headers, size = answer.status, answer.headers, self.part.size
        validator = _validator(headers)
        if status == 200:
            if size:
                self.say("The server sends the whole archive again: starting over.")
            self._start_over()
            self.validator = validator
            return int(headers["Content-Length"]) if "Content-Length" in headers else None
        if status == 206 and size:
            told = CONTENT_RANGE.fullmatch(headers.get("Content-Range", ""))
            changed = bool(self.validator) and validator != self.validator
            if told is None or int(told[1]) != size or changed:
                self._start_over()
                raise Again("it has changed" if changed else "the server sent another part than was asked for")
            self.sure = self.sure and bool(self.validator)
            self.validator = validator
            return None if told[2] == "*" else int(told[2])
        if status == 416 and size:
            self._start_over()
            raise Again("it is not longer than the part downloaded earlier")
        if status in PASSING or status >= 500:
            after = headers.get("Retry-After", "")
            raise Again(f"the server answers {answer.explained}", float(after) if after.isdecimal() else 0.0)
        raise UserError(f"{self.source} cannot be fetched: the server answers {answer.explained}.")

    def _broken(self, error: httpx.TransportError) -> str:
        if isinstance(error, httpx.ReadError | httpx.RemoteProtocolError) and self.total:
            return f"it was cut off at {self.part.size} of {self.total} bytes"
        return words_of(error) if str(error) else type(error).__name__

    def _start_over(self) -> None:
        self.part.clear()
        self.validator, self.sure = "", True

    def _check_size(self, size: int) -> None:
        if size > self.limits.bytes:
            self.part.clear()
            raise UserError(
                f"{self.source} is too large: {megabytes(size)} MB, where the limit is "
                f"{megabytes(self.limits.bytes)} MB."
            )

    def _late(self, reason: str) -> UserError:
        size = self.part.size
        kept = f" {megabytes(size)} MB of it are kept: the same command goes on there." if size else ""
        tries = f"{self.tries} tries" if self.tries > 1 else "one try"
        return UserError(f"{self.source} was not fetched within {self.limits.seconds:g} s, in {tries}: {reason}.{kept}")


def megabytes(size: int) -> str:
    return f"{size / 1e6:.1f}"


def _validator(headers: httpx.Headers) -> str:
    """Return what says of two answers that they are of one file, where there is any. A weak ETag says less."""
    tag: str = headers.get("ETag", "")
    found = tag if tag.startswith('"') else headers.get("Last-Modified", "")
    return found if found.isascii() and found.isprintable() and len(found) <= MOST_VALIDATOR else ""


def _lasting(error: httpx.TransportError) -> str:
    """Why a connection fails for good."""
    if isinstance(error, httpx.UnsupportedProtocol):
        return "it leads to an address that is neither http nor https."
    if "CERTIFICATE_VERIFY_FAILED" in str(error):
        return f"{words_of(error)}. Name a file with its authority by SSL_CERT_FILE."
    return ""
