"""API keys: a file with one per line, which the gateway reads at each request."""

import re
from pathlib import Path

from handler.files import UserError

# 22 characters of base64url hold 128 bits. The gateway admits no shorter key.
KEY = re.compile(r"[A-Za-z0-9_-]{22,}")
MAKE = "python -c 'import secrets; print(secrets.token_urlsafe(32))'"


def check_keys(path: Path) -> None:
    """Refuses a file that would keep everybody out, or that holds a key that could be guessed.

    Raises:
        UserError: it is missing, empty, or a line is not a key.
    """
    try:
        lines = [line.strip() for line in path.read_text().splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"The keys in {path} cannot be read: {error}") from error
    keys = [line for line in lines if line]
    if not keys:
        raise UserError(f"{path} holds no key. Make one by: {MAKE} >> {path}")
    for number, line in enumerate(lines, start=1):
        if line and not KEY.fullmatch(line):
            raise UserError(f"Line {number} of {path} is no key of 128 bits or more. Make one by: {MAKE}")
