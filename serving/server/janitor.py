"""Cleans up after a launcher that was killed: waits for the end of its pipe, then ends what it had started.

    python -m serving.server.janitor     standard input: `group PGID`, `ended PGID`, `folder PATH`; `done` calls it off

Standard library only; it outlives the launcher by a moment, however the launcher ended, on every Unix.
"""

import contextlib
import os
import shutil
import signal
import sys


def main() -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    groups: list[int] = []
    folders: list[str] = []
    for line in sys.stdin:
        word, _, value = line.rstrip("\n").partition(" ")
        if word == "group":
            groups.append(int(value))
        elif word == "ended" and int(value) in groups:
            groups.remove(int(value))  # its number may soon be another's
        elif word == "folder":
            folders.append(value)
        elif word == "done":
            return
    for group in groups:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(group, signal.SIGKILL)
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
