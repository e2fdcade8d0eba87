"""The verb compare: whether a new model is better than an old one."""

import sys
from pathlib import Path
from typing import Any

import click
from rich import box
from rich.table import Table
from rich.text import Text

from training.cli.options import DATA, FOLDER, UNSEEN_HELP, options
from training.console import plain_console, progress_bar

OPTIONS = [
    DATA,
    click.option(
        "--out", default="runs/compare", show_default=True, type=FOLDER, help="Folder that the report is written to."
    ),
    click.option(
        "--margin",
        default=0.5,
        show_default=True,
        type=click.FloatRange(0, 100),
        help="Accuracy that NEW may lose and still pass, in percentage points.",
    ),
    click.option("--unseen-only", is_flag=True, help=UNSEEN_HELP.format("OLD or NEW was")),
]


@click.command()
@click.argument("old", type=FOLDER)
@click.argument("new", type=FOLDER)
@options(OPTIONS)
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
        click.echo("\n".join(_differences(report, out)))
    click.echo(f"{report['verdict']}: {report['sentence']}")
    click.echo(f"{out}/compare.json")
    sys.exit(report["exit_code"])


def _differences(report: dict[str, Any], out: Path) -> list[str]:
    """Return how many pictures the models tell apart, and where they are shown."""
    count, figures = len(report["differences"]), report["all"]
    return [
        f"{figures['only_old']} pictures are right by OLD alone, {figures['only_new']} by NEW alone.",
        f"{count} pictures get different labels{f': {out}/differences.jpg' if count else '.'}",
    ]


def table(report: dict[str, Any]) -> Table:
    """Return the accuracies of both models on all test pictures and on each slice, within 80 columns."""
    title = "test split: accuracy in %, difference in points (95 % interval)"
    rows = Table(title=title, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    rows.add_column("slice")
    for header in ("n", "old", "new", "new - old", "p"):
        rows.add_column(header, justify="right", no_wrap=True)
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
            str(row["count"]),
            f"{100 * row['old']['share']:.2f}",
            f"{100 * row['new']['share']:.2f}",
            f"{100 * gap['estimate']:+.2f} ({100 * gap['low']:+.2f} to {100 * gap['high']:+.2f})",
            f"{row['p']:.2g}",
        )
    return rows
