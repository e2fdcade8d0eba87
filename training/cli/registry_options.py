"""Options that the verbs of the registry share, and what they print alike."""

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from common.verdicts import Verdict
from training.cli.options import FOLDER

if TYPE_CHECKING:
    from training.registry.registry import Version

NAME = click.option("--name", default="catsdogs", show_default=True, help="Name of the registered model.")
AUDIT = click.option(
    "--audit",
    default="model-store/promotions",
    show_default=True,
    type=FOLDER,
    help="Folder that the records of promotions and rollbacks are written to; a copy goes to the registry.",
)
WHO = click.option(
    "--who",
    envvar="CATSDOGS_WHO",
    show_envvar=True,
    show_default="git's user.email, else the user, and the machine",
    help="Person or job that the record names.",
)
ARCHIVE = click.option(
    "--archive",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="File that gets the champion's archive, which `catsdogs serve FILE --follow` then serves.",
)
URL = click.option(
    "--url", metavar="URL", help="Server to ask until it answers by the new champion, such as http://127.0.0.1:8080."
)
TIMEOUT = click.option(
    "--timeout",
    default=60.0,
    show_default=True,
    type=click.FloatRange(1, 3600),
    help="Seconds from the start of the command until the server of --url must answer by the new champion.",
)


def who_asks(who: str | None) -> str:
    from training.registry.audit import who_am_i

    return who or who_am_i()


def tell_chart(version: "Version") -> None:
    """Print the command by which the chart serves a version, where the registry is a server."""
    from training.registry.chart import server, values_of

    place = server()
    if place is None:
        return
    values = values_of(place, version)
    sets = " ".join(f"--set '{key}={value}'" for key, value in values.items())
    click.echo(f"To serve it by the chart: helm upgrade catsdogs ./helm --reuse-values {sets}")


def wait(url: str | None, timeout: float, version: "Version", started: float) -> Verdict:
    """Wait for the server's first answer by a version, and print after how many seconds it came."""
    if url is None:
        return Verdict.PASS
    from training.registry.registry import WEIGHTS_SHA256
    from training.registry.served import wait_until_served

    served = wait_until_served(url, version.name, version.tags[WEIGHTS_SHA256], timeout, started)
    if served.right:
        click.echo(f"{url} answers by {version}, {served.seconds:.1f} s after the command started.")
        return Verdict.PASS
    answered = f"its last answer was by release {served.model['version']}" if served.model else "it gave no answer"
    click.echo(
        f"NOT_READY: {url} did not answer by {version} within {timeout:g} s; {answered}. The alias was moved all the "
        "same."
    )
    return Verdict.NOT_READY


def now() -> float:
    return time.monotonic()
