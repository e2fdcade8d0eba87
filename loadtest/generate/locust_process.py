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
    """Return Locust's command line. Options without a value are left out."""
    arguments = [sys.executable, "-P", str(LAUNCH), "-f", str(LOCUSTFILE), "--headless", "--only-summary"]
    arguments += ["--loglevel", "WARNING", "--host", url]
    values = {"gate": gate, "out": out, **options}
    for name, value in values.items():
        if value is True:
            arguments.append(f"--{name.replace('_', '-')}")
        elif value is not None and value is not False:
            arguments += [f"--{name.replace('_', '-')}", str(value)]
    if out is not None:
        arguments += ["--json-file", str(out / "locust")]  # in place of its tables beside ours; Locust adds .json
    for protocol in protocols:
        arguments += ["--protocol", protocol]
    return arguments


def start(arguments: list[str]) -> NoReturn:
    """Replace this process by Locust, which then gets the signals and sets the exit status."""
    sys.stdout.flush()
    # An interrupt until then waits for Locust, which unblocks it.
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    os.execv(arguments[0], arguments)
