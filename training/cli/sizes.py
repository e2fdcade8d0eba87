"""The verb sizes: accuracy and time of a release at several input sizes, in each precision, written into its card."""

from pathlib import Path

import click

from training.cli.evaluate import parse_sizes
from training.cli.evaluate_tables import sizes_table
from training.cli.options import DATA, RELEASE
from training.console import plain_console, progress_bar


@click.command()
@RELEASE
@DATA
@click.option(
    "--sizes",
    required=True,
    metavar="N,N,...",
    help="Sides of the network's square input, pixels, with commas between them.",
)
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    metavar="N",
    show_default="all",
    help="Number of val pictures, taken evenly.",
)
@click.option(
    "--picture",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="PNG of accuracy against time to draw.",
)
def sizes(release: Path, data: Path, sizes: str, limit: int | None, picture: Path | None) -> None:
    """Measure a release at several input sizes, in each precision, and write the figures into its card.

    The weights are those of the release. The int8 network is quantised at each size as `export` does. Accuracy is that
    on the val split, and time that of the network alone on one thread. The networks of the release do not change: a
    release of another size takes `export --size`.
    """
    from training.data import manifest
    from training.release.add_sizes import add_sizes

    sides = parse_sizes(sizes)
    console = plain_console(stderr=True)
    with progress_bar(console) as progress:
        task = progress.add_task("networks", total=None, rate="")
        measured = add_sizes(
            release,
            manifest.read(data),
            sides,
            limit,
            picture,
            lambda done, total: progress.update(task, completed=done, total=total),
        )
    for precision, figures in measured["precisions"].items():
        plain_console().print(sizes_table(figures, f"{precision}, {measured['split']} split"))
        click.echo(f"{precision}: {figures['sentence']}")
    click.echo(f"next: catsdogs package {release}")
