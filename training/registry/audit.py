"""The record of a promotion or a rollback: who, when, which champion, and every figure that was judged.

It is written before anything is judged, and again with the outcome, so that a kill leaves the record of an attempt.
"""

import getpass
import json
import socket
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from handler.files import write_atomic
from training.registry.registry import RELEASE, RELEASE_SHA256, RUN_ID, WEIGHTS_SHA256, Registry, Version

FILE = "record.json"
STARTED = "STARTED"
Action = Literal["promote", "rollback"]


class Audit:
    """One attempt's record, in a folder of its own below `root`.

    Args:
        who: the person or the job that asked for it.
    """

    def __init__(self, root: Path, action: Action, who: str, registry: str, name: str) -> None:
        now = datetime.now(UTC)
        self.folder = _new_folder(root / name, f"{now:%Y%m%dT%H%M%SZ}-{action}")
        self.values: dict[str, Any] = {
            "action": action,
            "who": who,
            "started": now.isoformat(timespec="seconds"),
            "registry": registry,
            "model": name,
            "outcome": STARTED,
        }
        self.write()

    def write(self, **values: Any) -> None:
        """Add values, and write the record."""
        self.values |= values
        data = json.dumps(self.values, indent=2, allow_nan=False).encode() + b"\n"
        write_atomic(self.folder / FILE, data)

    def end(self, outcome: str, sentence: str, moved: bool) -> None:
        """Write the outcome, and whether the alias was moved."""
        finished = datetime.now(UTC).isoformat(timespec="seconds")
        self.write(outcome=outcome, sentence=sentence, alias_moved=moved, finished=finished)

    def store(self, registry: Registry, version: Version) -> None:
        """Copy the record to the registry, beside the files of the version that it is about."""
        registry.attach(version, self.folder, f"promotions/{self.folder.name}")


def identity(version: Version | None) -> dict[str, Any] | None:
    """Return what identifies a version in a record."""
    if version is None:
        return None
    named = {key: version.tags.get(key) for key in (RELEASE, RELEASE_SHA256, WEIGHTS_SHA256, RUN_ID, "git_sha")}
    return {"version": version.number, **named}


def who_am_i() -> str:
    """Return git's address of the user where there is one, else the user's name, and the machine's."""
    try:
        done = subprocess.run(["git", "config", "user.email"], capture_output=True, text=True, timeout=10)
        address = done.stdout.strip()
    except (OSError, subprocess.SubprocessError):
        address = ""
    try:
        user = address or getpass.getuser()
    except (OSError, KeyError):
        user = "unknown"
    return f"{user} on {socket.gethostname()}"


def _new_folder(root: Path, name: str) -> Path:
    """Make a folder that is not there yet, and return it."""
    number = 1
    while True:
        folder = root / (name if number == 1 else f"{name}-{number}")
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            number += 1
        else:
            return folder
