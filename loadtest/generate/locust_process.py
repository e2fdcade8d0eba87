"""Locust's command line, and this process as Locust."""

import os
import signal
import sys
from pathlib import Path
from typing import Any, NoReturn

LOCUSTFILE = Path(__file__).parents[1] / "locustfile.py"
LAUNCH = Path(__file__).with_name("launch.py")


def command(
    *,
    url: str,
    gate: str | None = None,
    protocols: tuple[str, ...] = (),
    out: Path | None = None,
    **options: Any,
) -> list[str]:
    """Locust's command line. Options without a value are left out."""
    words = [sys.executable, "-P", str(LAUNCH), "-f", str(LOCUSTFILE), "--headless", "--only-summary"]
    words += ["--loglevel", "WARNING", "--host", url]
    values = {"gate": gate, "out": out, **options}
    for name, value in values.items():
        if value is True:
            words.append(f"--{name.replace('_', '-')}")
        elif value is not None and value is not False:
            words += [f"--{name.replace('_', '-')}", str(value)]
    if out is not None:
        words += ["--json-file", str(out / "locust")]  # and not as tables, beside ours; it adds .json
    for protocol in protocols:
        words += ["--protocol", protocol]
    return words


def start(words: list[str]) -> NoReturn:
    """This process becomes Locust, so that signals and the exit status are its own."""
    sys.stdout.flush()
    # An interrupt meanwhile is for Locust, which begins by hearing it.
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    os.execv(words[0], words)
