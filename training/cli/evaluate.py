"""The verb evaluate: a checkpoint's report, or the measurement of a resize rule or an input size."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.table import Table

from training.cli.evaluate_tables import report_lines, report_table, rules_table, sizes_table
from training.cli.options import DATA, FOLDER, RUN, TRACKER, UNSEEN_HELP, options
from training.console import plain_console, progress_bar

if TYPE_CHECKING:
    from handler.preprocess import Resize
    from training.data.manifest import Manifest

OPTIONS = [
    DATA,
    RUN,
    click.option(
        "--checkpoint", metavar="FILE", type=FOLDER, show_default="RUN/best.pt", help="Checkpoint that is measured."
    ),
    click.option(
        "--split",
        default="test",
        show_default=True,
        type=click.Choice(["train", "val", "test"]),
        help="Split whose pictures the report is on.",
    ),
    click.option("--out", type=FOLDER, show_default="RUN/evaluation", help="Folder that the report is written to."),
    click.option(
        "--size",
        type=click.IntRange(32, 1024),
        show_default="that of the run's config",
        help="Side of the network's square input, pixels.",
    ),
    click.option(
        "--resize",
        type=click.Choice(["squeeze", "crop"]),
        show_default="that of the run's config",
        help="How a picture becomes a square: squeezed, or its middle cropped.",
    ),
    click.option(
        "--compare-rules",
        is_flag=True,
        help="Measure on the val split which resize rule is better, instead of making a report.",
    ),
    click.option(
        "--sizes",
        metavar="N,N,...",
        help="Sides of the input, pixels, whose accuracy and cost are measured on the val split, instead of making a "
        "report.",
    ),
    click.option(
        "--limit",
        type=click.IntRange(min=1),
        help="Maximum number of pictures for --compare-rules and --sizes, taken evenly from the split.",
    ),
    click.option("--unseen-only", is_flag=True, help=UNSEEN_HELP.format("the checkpoint was")),
    TRACKER,
]


@click.command()
@options(OPTIONS)
def evaluate(
    data: Path,
    run: Path,
    checkpoint: Path | None,
    split: str,
    out: Path | None,
    size: int | None,
    resize: "Resize | None",
    compare_rules: bool,
    sizes: str | None,
    limit: int | None,
    unseen_only: bool,
    tracker: str | None,
) -> None:
    """Measure a checkpoint's accuracy and calibration, and show its worst mistakes.

    Pictures of different top folders are reported apart, each with its 95 % interval. Folders named after splits
    (train, val, test) are not top folders in this sense.
    """
    sides = parse_sizes(sizes)
    decides = compare_rules or bool(sides)
    if (size or resize) and decides:
        raise click.UsageError("--size and --resize are for a report; --compare-rules and --sizes measure several.")
    if limit and not decides:
        raise click.UsageError("--limit goes with --compare-rules or --sizes: a report is of all pictures.")
    from training.data import manifest
    from training.data.workers import deaths_explained

    pictures = manifest.read(data)
    checkpoint, out = checkpoint or run / "best.pt", out or run / "evaluation"
    if unseen_only:
        pictures = _unseen(checkpoint, pictures)
    with progress_bar(plain_console(stderr=True)) as progress, deaths_explained():
        task = progress.add_task("predicting", total=None, rate="")

        def on_progress(done: int, total: int) -> None:
            progress.update(task, completed=done, total=total)

        if decides:
            tables, lines = _decide(checkpoint, pictures, out, compare_rules, sides, limit, on_progress)
        else:
            report = _report(checkpoint, pictures, out, split, size, resize, on_progress)
            tables, lines = [report_table(report)], _sentences(report, pictures, out)
            if checkpoint == run / "best.pt":  # another one's figures are not the run's
                _track(report, pictures, run, out, tracker)
    for table in tables:
        plain_console().print(table)
    click.echo("\n".join(lines))


def parse_sizes(sizes: str | None) -> list[int]:
    try:
        sides = [int(side) for side in sizes.split(",")] if sizes is not None else []
    except ValueError:
        raise click.BadParameter("whole numbers, for example 112,128,160", param_hint="--sizes") from None
    if any(not 32 <= side <= 1024 for side in sides):
        raise click.BadParameter("from 32 to 1024 pixels", param_hint="--sizes")
    return sides


def _unseen(checkpoint: Path, pictures: "Manifest") -> "Manifest":
    from training.evaluation.trained import unseen_by

    unseen = unseen_by(checkpoint, pictures)
    count = len(pictures.pictures) - len(unseen.pictures)
    click.echo(f"{count} val and test pictures that {checkpoint} was trained on are left out.", err=True)
    return unseen


def _decide(
    checkpoint: Path,
    pictures: "Manifest",
    out: Path,
    compare_rules: bool,
    sides: list[int],
    limit: int | None,
    on_progress: Callable[[int, int], None],
) -> tuple[list[Table], list[str]]:
    """Measure the resize rules, the input sizes or both, and return tables and sentences."""
    from training.evaluation.input_size import measure_sizes
    from training.evaluation.resize_rule import compare_rules as run_comparison

    tables, lines = list[Table](), list[str]()
    if compare_rules:
        rules = run_comparison(checkpoint, pictures, out, limit, on_progress)
        tables.append(rules_table(rules))
        lines += [rules["sentence"], f"{out}/rules.json"]
    if sides:
        measured = measure_sizes(checkpoint, pictures, sides, out, limit, on_progress)
        tables.append(sizes_table(measured))
        lines += [measured["sentence"], f"{out}/sizes.json and sizes.png"]
        lines.append(f"next: catsdogs evaluate --size {measured['knee']}, whose size export then takes")
    return tables, lines


def _report(
    checkpoint: Path,
    pictures: "Manifest",
    out: Path,
    split: str,
    size: int | None,
    resize: "Resize | None",
    on_progress: Callable[[int, int], None],
) -> dict[str, Any]:
    from training.evaluation.evaluate import evaluate as run_evaluation

    return run_evaluation(checkpoint, pictures, out, split, on_progress, size, resize)


def _sentences(report: dict[str, Any], pictures: "Manifest", out: Path) -> list[str]:
    from training.data.manifest import few_pictures
    from training.data.summary import few_pictures as few_sentences

    lines = few_sentences(few_pictures(pictures.pictures, report["split"]), report["split"])
    return [*lines, *report_lines(report), f"{out}/report.json, and beside it {', '.join(report['pictures'])}"]


def _track(report: dict[str, Any], pictures: "Manifest", run: Path, out: Path, tracker: str | None) -> None:
    """Add a report to what a tracker holds of the run."""
    from training.config import load
    from training.tracking.tracked_run import TrackedRun, tracker_of

    chosen = tracker_of(run, tracker, partial(click.echo, err=True))
    if chosen is None or not (run / "config.yaml").exists():
        return
    record = TrackedRun(*chosen, run)
    with record.until_end():
        record.begin(load(run / "config.yaml"), pictures, [])
        record.evaluated(report, out)
