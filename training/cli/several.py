"""Options and output that the verbs sweep and cv share: runs side by side, a line for each that has ended, a table."""

import csv
import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from common.cores import usable_cores
from handler.files import write_atomic

if TYPE_CHECKING:
    from training.config import Config
    from training.experiments.processes import Outcome

JOBS = click.option(
    "--jobs",
    type=click.IntRange(min=1),
    default=usable_cores(),
    show_default="one per core",
    callback=lambda context, parameter, value: min(value, usable_cores()),
    help="Runs at once, at most one per core; each gets its share of the cores.",
)
CONFIG = click.option(
    "--config",
    metavar="FILE|NAME",
    default="default",
    show_default=True,
    help="Your config file, or one that ships: default, scratch, small, release, release-larger, release-robust.",
)


def read_config(config: str, overrides: Sequence[str]) -> "Config":
    """Return a run's config, so that a mistake in it is told before any run begins."""
    from training import config as configs
    from training import recipes

    return configs.load(recipes.find_config(config), overrides)


def teller(total: int) -> Callable[["Outcome"], None]:
    """Return a function that prints a line for each run that has ended."""
    ended = 0

    def tell(outcome: "Outcome") -> None:
        nonlocal ended
        ended += 1
        said = (
            f"failed: {outcome.failure}" if outcome.failure else f"val accuracy {100 * outcome.best.val_accuracy:.2f} %"
        )
        click.echo(f"{ended}/{total}  {outcome.name}  {said}")

    return tell


def write_table(path: Path, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, buffer.getvalue().encode())
