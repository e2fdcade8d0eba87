"""Locust's command line, and this process as Locust."""

import os
import shlex
import signal
import sys
from pathlib import Path
from typing import Any, NoReturn

LOCUSTFILE = Path(__file__).parents[1] / "locustfile.py"
LAUNCH = Path(__file__).with_name("launch.py")
# Environment variable that holds the command line that a user typed.
TYPED = "CATSDOGS_LOADTEST_COMMAND"


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


def typed() -> str:
    """Return the command line that started the test: the user's, or this process's."""
    return os.environ.get(TYPED) or shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])


def start(arguments: list[str]) -> NoReturn:
    """Replace this process by Locust, which then gets the signals and sets the exit status."""
    sys.stdout.flush()
    # An interrupt until then waits for Locust, which unblocks it.
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    os.execv(arguments[0], arguments)
