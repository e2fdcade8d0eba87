"""A worker loads what the launcher verified: the launcher hands on the sha256 of the archive's list of members."""

import hashlib
import os
from pathlib import Path

from handler.files import UserError, sha256_file
from handler.members import LIST, check_member_name
from handler.runtimes.choice import model_names

VARIABLE = "CATSDOGS_ARCHIVE_LIST_SHA256"
"""Variable with the sha256 of LIST in the archive that may be served. Unset, nothing is checked here."""


def check_handed_on(folder: Path) -> None:
    """Check an unpacked archive against the sha256 that the launcher handed on.

    Model files are left to the predictor, which compares each with release.json before it loads it.

    Raises:
        UserError: it is another archive, or a file of it was changed.
    """
    if not (wanted := os.environ.get(VARIABLE)):
        return
    try:
        text = (folder / LIST).read_bytes()
    except OSError as error:
        raise UserError(f"{folder} is not the archive that was verified: it has no {LIST}.") from error
    if (actual := hashlib.sha256(text).hexdigest()) != wanted:
        raise UserError(f"{folder} is not the archive that was verified: its {LIST} has the sha256 {actual}.")
    for line in text.decode().splitlines():
        sha256, _, name = line.partition("  ")
        path = folder / check_member_name(name)
        if path.name not in model_names() and (not path.is_file() or sha256_file(path) != sha256):
            raise UserError(f"{path} is missing, or was changed after the archive was verified.")
