"""The verb compare: is a new model better than an old one?"""

import sys
from pathlib import Path
from typing import Any

import click
from rich.table import Table
from rich.text import Text

from training.cli import FOLDER
from training.console import plain_console, progress_bar


@click.command()
@click.argument("old", type=FOLDER)
@click.argument("new", type=FOLDER)
@click.option("--data", default="data", show_default=True, type=FOLDER, help="Folder that `prepare` wrote.")
@click.option("--out", default="runs/compare", show_default=True, type=FOLDER, help="Folder for the report.")
@click.option(
    "--margin",
    default=0.5,
    show_default=True,
    type=click.FloatRange(0, 100),
    help="Accuracy that NEW may lose and still pass, in percentage points.",
)
@click.option("--unseen-only", is_flag=True, help="Leave out test pictures that OLD or NEW was trained on.")
def compare(old: Path, new: Path, data: Path, out: Path, margin: float, unseen_only: bool) -> None:
    """Compare two models on pictures that neither was trained on.

    OLD and NEW are checkpoints (.pt), releases (folders) or archives (.mar) of the same classes. Both answer the test
    pictures of DATA. OUT gets compare.json, and differences.jpg with the pictures to which they give different labels.

    Exit status: 0 PASS, NEW is better or not worse by more than the margin; 10 BREACH, NEW is worse; 11 INCONCLUSIVE,
    too few pictures to tell; 12 INVALID, a model was trained on test pictures, or the classes differ; 2 wrong usage.
    """
    from training.data import manifest
    from training.evaluation.comparison import compare as run_comparison

    pictures = manifest.read(data)
    with progress_bar(plain_console(stderr=True)) as progress:
        task = progress.add_task("predicting", total=None, rate="")
        report = run_comparison(
            old,
            new,
            pictures,
            out,
            margin,
            unseen_only,
            lambda done, total: progress.update(task, completed=done, total=total),
        )
    for note in report["notes"]:
        click.echo(f"Note: {note}")
    if report["left_out"]:
        click.echo(f"{report['left_out']} test pictures that OLD or NEW was trained on are left out.")
    if "all" in report:
        plain_console().print(table(report))
        found = len(report["differences"])
        click.echo(f"{found} pictures get different labels{f': {out}/differences.jpg' if found else '.'}")
    click.echo(f"{report['verdict']}: {report['sentence']}")
    click.echo(f"{out}/compare.json")
    sys.exit(report["exit_code"])


def table(report: dict[str, Any]) -> Table:
    """Return the accuracies of both models on all test pictures and on each slice."""
    rows = Table(
        "slice", "old", "new", "new - old, 95 % interval", "only old", "only new", "n", "p", title="test split"
    )
    slices = [("all", report["all"])]
    slices += [(name, row) for name, row in report["by_source"].items() if len(report["by_source"]) > 1]
    slices += list(report["by_class"].items())
    slices += [
        (f"{trait}: {name}", row) for trait, some in report["by_trait"].items() for name, row in some["slices"].items()
    ]
    for name, row in slices:
        gap = row["difference"]
        rows.add_row(
            Text(name),
            f"{100 * row['old']['share']:.2f} %",
            f"{100 * row['new']['share']:.2f} %",
            f"{100 * gap['estimate']:+.2f} ({100 * gap['low']:+.2f} to {100 * gap['high']:+.2f})",
            str(row["only_old"]),
            str(row["only_new"]),
            str(row["count"]),
            f"{row['p']:.2g}",
        )
    return rows
