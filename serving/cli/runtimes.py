"""catsdogs runtimes: the runtimes in an archive, measured on this machine."""

import sys
from pathlib import Path

import click

from serving.cli.options import ARCHIVE, PATH
from serving.terminal import say


@click.command()
@click.argument("archive", default=ARCHIVE, type=PATH)
def runtimes(archive: Path) -> None:
    """Measure which runtime is the fastest on this machine, in each precision.

    ARCHIVE is a .mar for one or more runtimes. A server takes the release's int8 network on an x86-64 CPU and fp32
    elsewhere, and the runtime that was the fastest on this kind of processor when it was measured. --precision and
    CATSDOGS_RUNTIME, or the chart's values `precision` and `runtime`, name others.
    """
    from rich.console import Console
    from rich.progress import Progress
    from rich.table import Table

    from handler.runtimes.processor import instruction_sets, model_name, read_cpuinfo
    from serving.server.runtimes import BATCHES, time_runtimes

    with Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task("measuring")
        timings = time_runtimes(archive, lambda done, total: bar.update(task, completed=done, total=total))
    cpuinfo = read_cpuinfo()
    click.echo(f"{model_name(cpuinfo)}: {', '.join(instruction_sets(cpuinfo)) or 'no instruction sets known here'}")
    table = Table("runtime", "precision", *(f"ms per picture, batch of {count}" for count in BATCHES), "")
    for timing in timings:
        cells = [f"{timing.milliseconds[count]:.1f}" for count in BATCHES]
        table.add_row(timing.name, timing.precision, *cells, "chosen" if timing.chosen else "")
    Console().print(table)
    chosen = next(timing for timing in timings if timing.chosen)
    say(_reason(chosen.precision))
    for other in timings:
        if other.precision == chosen.precision and other.faster_than(chosen):
            say(f"{other.name} is faster here than {chosen.name}: set CATSDOGS_RUNTIME={other.name}")


def _reason(precision: str) -> str:
    """Return why a server takes this precision."""
    from handler.runtimes.runtime import INT8

    if precision == INT8:
        return "int8 is chosen: this is an x86-64 CPU, and the release shows that int8 is as good as fp32."
    return (
        f"{precision} is chosen: the release has no int8 network, or int8 was not measured on this kind of processor."
    )
