"""API keys: a file with one per line, which the gateway reads at each request."""

import os
import re
from collections.abc import Mapping
from pathlib import Path

from handler.files import UserError, first_line

# 22 characters of base64url hold 128 bits. The gateway admits no shorter key.
KEY = re.compile(r"[A-Za-z0-9_-]{22,}")
# What the gateway reads of a file.
MAX_BYTES = 2**20
MAKE = "python -c 'import secrets; print(secrets.token_urlsafe(32))'"


def read_secret(name: str, environment: Mapping[str, str] = os.environ) -> str:
    """Return the content of the file that the variable NAME_FILE names, else the value of NAME, else nothing.

    Raises:
        UserError: the file cannot be read.
    """
    if not (path := environment.get(f"{name}_FILE")):
        return environment.get(name, "")
    try:
        return Path(path).read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{name}_FILE is {path}, which cannot be read: {first_line(error)}") from error


def check_keys(path: Path) -> None:
    """Refuses a file that would keep everybody out, or that holds a key that could be guessed.

    Raises:
        UserError: it is missing, empty, or a line is not a key.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
        text = data.decode()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"The keys in {path} cannot be read: {error}") from error
    if len(data) > MAX_BYTES:
        raise UserError(f"{path} has more than {MAX_BYTES >> 20} MiB, which is more than the gateway reads.")
    # As the gateway does it: it parts the file at line feeds, and takes what is around a line for no part of it.
    lines = [line.strip() for line in text.split("\n")]
    if any("\r" in line for line in lines):
        raise UserError(f"{path} ends its lines by carriage returns alone: save it with line feeds (LF or CRLF).")
    keys = [line for line in lines if line]
    if not keys:
        raise UserError(f"{path} holds no key. Make one by: {MAKE} >> {path}")
    for number, line in enumerate(lines, start=1):
        if line and not KEY.fullmatch(line):
            raise UserError(f"Line {number} of {path} is not a key of 128 bits or more. Make one by: {MAKE}")
