"""The verb history: all registered versions on the same pictures."""

from pathlib import Path
from typing import Any

import click
from rich import box
from rich.table import Table
from rich.text import Text

from training.cli.options import DATA, FOLDER, options
from training.cli.registry_options import NAME
from training.console import plain_console

OPTIONS = [
    NAME,
    DATA,
    click.option(
        "--out", default="runs/history", show_default=True, type=FOLDER, help="Folder that the report is written to."
    ),
]


@click.command()
@options(OPTIONS)
def history(name: str, data: Path, out: Path) -> None:
    """Compare all registered versions of a model on the same pictures.

    The archive of each version answers the test pictures of DATA. OUT gets history.json, history.csv and history.png,
    the accuracies with their intervals. The champion has a star. Of the others, `lost` counts the pictures that the
    champion alone gets right, `won` those that the version alone gets right, and p is of McNemar's exact test.
    """
    from training.data import manifest
    from training.registry.open_registry import open_registry

    pictures = manifest.read(data)
    registry = open_registry()
    from training.registry.history import history as run_history

    with plain_console(stderr=True).status("") as status:
        report = run_history(registry, name, pictures, out, lambda text: status.update(Text(text)))
    plain_console().print(table(report))
    for row in report["versions"]:
        if row["note"]:
            click.echo(f"Version {row['version']}: {row['note']}")
    click.echo(f"{out}/history.csv, {out}/history.png")


def table(report: dict[str, Any]) -> Table:
    """Return the versions as a table; the champion has a star."""
    title = f"{report['model']}: {report['test_pictures']} test pictures, accuracy in %"
    rows = Table(title=title, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for header in ("version", "release", "verdict", "accuracy", "95 % interval", "lost", "won", "p"):
        rows.add_column(header, no_wrap=header == "95 % interval", overflow="fold")
    for row in report["versions"]:
        measured = "accuracy" in row
        compared = "p" in row
        rows.add_row(
            Text(f"{row['version']}{' *' if row['champion'] else ''}"),
            Text(row["release"] or ""),
            Text(row["verdict"] or ""),
            f"{100 * row['accuracy']:.2f}" if measured else "",
            f"{100 * row['low']:.2f} to {100 * row['high']:.2f}" if measured else "",
            *([str(row["only_champion"]), str(row["only_this"]), f"{row['p']:.2g}"] if compared else ["", "", ""]),
        )
    return rows
