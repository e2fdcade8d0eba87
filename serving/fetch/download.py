"""An archive from a web server or a bucket: resumes after a break, and is there only when its sha256 is right."""

import time
import zipfile
from pathlib import Path
from typing import Any

from common.download.failures import Busy, Failure, GivenUp, OtherFile, TooLarge
from common.download.part import Part
from common.download.resume import Download, Limits, Progress, Say, megabytes
from common.download.transfer import Source
from common.text import printable
from handler.files import UserError, sha256_file


def fetch(source: Source[Any], out: Path, sha256: str, limits: Limits, progress: Progress, say: Say) -> bool:
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


def _fetch(source: Source[Any], out: Path, sha256: str, limits: Limits, progress: Progress, say: Say) -> bool:
    if out.is_dir():
        raise UserError(f"{out} is a folder: name the file to write the archive to.")
    if _is_there(out, sha256):
        return False
    out.parent.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + limits.seconds
    try:
        with Part(out, out.with_name(f".{out.name}.part"), deadline, say) as part:
            # Another process may have been faster.
            if _is_there(out, sha256):
                part.clear()
                return False
            try:
                Download(source, part, limits, deadline, progress, say).run(sha256)
            except Failure as failure:
                raise UserError(_explain(failure, source, part, sha256, limits)) from failure
            part.keep()
    except Busy as busy:
        raise UserError(str(busy)) from busy
    return True


def fetch_small(source: Source[Any], out: Path, limits: Limits, say: Say) -> bytes:
    """Return a small file whose sha256 nobody knows, such as a signature; a part file beside `out` is removed.

    Raises:
        UserError: the server cannot be reached within the limits or refuses, or the file is larger than they allow.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + limits.seconds
    try:
        with Part(out, out.with_name(f".{out.name}.part"), deadline, lambda text: say(printable(text))) as part:
            try:
                Download(source, part, limits, deadline, lambda done, total: None, say).run_whole()
                return part.path.read_bytes()
            except GivenUp as failure:
                raise UserError(f"{source} was not fetched within {limits.seconds:g} s: {failure}.") from failure
            except TooLarge as failure:
                raise UserError(f"{source} is too large: {failure}.") from failure
            except Failure as failure:
                raise UserError(f"{source} cannot be fetched: {failure}.") from failure
            finally:
                part.clear()
    except (Busy, UserError) as error:
        raise UserError(printable(str(error))) from error


def _is_there(out: Path, sha256: str) -> bool:
    return out.is_file() and sha256_file(out) == sha256


def _explain(failure: Failure, source: Source[Any], part: Part, sha256: str, limits: Limits) -> str:
    """Say in a sentence why the archive did not come; a file that is another one is removed."""
    if isinstance(failure, OtherFile):
        kind = _describe(part)
        part.clear()
        return f"{source} is not the archive that was asked for: {failure}, not {sha256}.{kind}"
    if isinstance(failure, TooLarge):
        size, limit = megabytes(failure.size), megabytes(limits.bytes)
        return f"{source} is too large: {size} MB, where the limit is {limit} MB."
    if isinstance(failure, GivenUp):
        kept = f" {megabytes(part.size)} MB of it are kept: the same command goes on there." if part.size else ""
        tries = f"{failure.tries} tries" if failure.tries > 1 else "one try"
        return f"{source} was not fetched within {limits.seconds:g} s, in {tries}: {failure}.{kept}"
    return f"{source} cannot be fetched: {failure}."


def _describe(part: Part) -> str:
    """Return a sentence on what the file is where it is not an archive, else an empty string."""
    if zipfile.is_zipfile(part.path):
        return ""
    with part.path.open("rb") as file:
        begins = file.read(4) == b"PK\x03\x04"
    if begins:
        return f" It was cut off: {part.size} bytes, which begin as an archive and do not end as one."
    return f" It is no archive at all, but {part.size} bytes of something else."
