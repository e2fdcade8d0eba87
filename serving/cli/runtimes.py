"""catsdogs runtimes: the runtimes in an archive, measured on this machine."""

import sys
from pathlib import Path

import click

from serving.cli.options import ARCHIVE, PATH
from serving.terminal import say


@click.command()
@click.argument("archive", default=ARCHIVE, type=PATH)
def runtimes(archive: Path) -> None:
    """Measure which runtime is the fastest on this machine.

    ARCHIVE is a .mar for one or more runtimes. A server uses the first one in it, unless the variable
    CATSDOGS_RUNTIME, or the chart's value `runtime`, names another.
    """
    from rich.console import Console
    from rich.progress import Progress
    from rich.table import Table

    from serving.server.runtimes import BATCHES, time_runtimes

    with Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task("measuring")
        timings = time_runtimes(archive, lambda done, total: bar.update(task, completed=done, total=total))
    table = Table("runtime", *(f"ms a picture, in batches of {count}" for count in BATCHES))
    for timing in timings:
        table.add_row(timing.name, *(f"{timing.milliseconds[count]:.1f}" for count in BATCHES))
    Console().print(table)
    taken, *others = timings
    for other in others:
        if all(other.milliseconds[count] < taken.milliseconds[count] for count in BATCHES):
            say(
                f"{other.name} is faster here than {taken.name}, which a server uses: set CATSDOGS_RUNTIME={other.name}"
            )
