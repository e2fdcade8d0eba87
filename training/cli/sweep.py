"""The verb sweep: a run for each combination of values, over processes.

catsdogs sweep --data data --set train.learning_rate=0.05,0.1 --set train.weight_decay=0,0.0005
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.table import Table

from training.cli.options import DATA, FOLDER, TRACKER, options
from training.cli.several import CONFIG, JOBS, read_config, teller, write_table
from training.console import plain_console

if TYPE_CHECKING:
    from training.data.manifest import Manifest
    from training.experiments.grid import Point
    from training.experiments.processes import Job, Outcome
    from training.tracking.parent_run import ParentRun

FIGURES = ("best_epoch", "val_accuracy", "val_loss")
OPTIONS = [
    click.option(
        "--set",
        "settings",
        multiple=True,
        required=True,
        metavar="KEY=VALUE,VALUE",
        help="Values to try for a key of the config, for example train.learning_rate=0.05,0.1; repeatable. A single "
        "value applies to all runs.",
    ),
    CONFIG,
    DATA,
    click.option(
        "--out",
        default="runs/sweep",
        show_default=True,
        type=FOLDER,
        help="Folder for the runs, one folder each, and for sweep.csv.",
    ),
    JOBS,
    TRACKER,
]


@click.command()
@options(OPTIONS)
def sweep(settings: tuple[str, ...], config: str, data: Path, out: Path, jobs: int, tracker: str | None) -> None:
    """Train a run for each combination of values, and list them by validation accuracy.

    The test split is not used: run `catsdogs evaluate` on the run that you choose. In a tracker, the runs are nested
    under one parent run. To resume a sweep that was stopped, give the same command again.
    """
    from training.data import manifest
    from training.experiments.grid import make_grid

    grid = make_grid(settings)
    for point in grid:
        read_config(config, point.overrides)
    pictures = manifest.read(data)
    outcomes = _train(grid, settings, pictures, config, data, out, jobs, tracker)
    _tell(grid, outcomes, pictures, out)


def _train(
    grid: "Sequence[Point]",
    settings: Sequence[str],
    pictures: "Manifest",
    config: str,
    data: Path,
    out: Path,
    jobs: int,
    tracker: str | None,
) -> "list[Outcome]":
    """Train every run, and write sweep.csv."""
    from common.git import revision
    from handler.files import UserError
    from training.experiments.processes import train_all
    from training.tracking.parent_run import parent_run

    params = dict(setting.split("=", 1) for setting in settings)
    tags = {"kind": "sweep", "data_sha256": pictures.sha256, "git_sha": revision(Path(__file__).parent) or "unknown"}
    with parent_run(out, tracker, f"sweep_{out.name}", params, tags, partial(click.echo, err=True)) as parent:
        members = [_job(point, config, data, out, parent) for point in grid]
        outcomes = train_all(members, min(jobs, len(members)), parent.environment, teller(len(members)))
        rows = [_row(point, outcome) for point, outcome in zip(grid, outcomes, strict=True)]
        write_table(out / "sweep.csv", ["run", *grid[0].values, *FIGURES, "failure"], rows)
        if not (finished := [outcome for outcome in outcomes if outcome.history]):
            raise UserError(f"No run of the sweep finished. The reasons are in {out}/*/train.log.")
        accuracy = max(outcome.best.val_accuracy for outcome in finished)
        parent.finish({"runs": len(finished), "best_val_accuracy": accuracy}, out / "sweep.csv")
    return outcomes


def _job(point: "Point", config: str, data: Path, out: Path, parent: "ParentRun") -> "Job":
    from training.experiments.processes import Job
    from training.tracking.naming import run_name

    called = point.name_in_tracker(run_name(read_config(config, point.overrides)))
    overrides = [word for override in point.overrides for word in ("--set", override)]
    arguments = ["--data", str(data), "--config", config, *overrides, *parent.arguments, "--tracked-as", called]
    return Job(point.name, out / point.name, arguments)


def _row(point: "Point", outcome: "Outcome") -> list[object]:
    best = outcome.best if outcome.history else None
    figures = [best.epoch, best.val_accuracy, best.val_loss] if best else ["", "", ""]
    return [point.name, *point.values.values(), *figures, outcome.failure]


def _tell(grid: "Sequence[Point]", outcomes: "Sequence[Outcome]", pictures: "Manifest", out: Path) -> None:
    """Print the runs, the best first, with the interval of each accuracy, and the command to evaluate the best."""
    from training.evaluation.metrics import proportion

    count = len(pictures.split("val"))
    table = Table(*(key.partition(".")[2] for key in grid[0].values), "best epoch", "val accuracy", "val loss")
    pairs = [(point, outcome) for point, outcome in zip(grid, outcomes, strict=True) if outcome.history]
    pairs.sort(key=lambda pair: (-pair[1].best.val_accuracy, pair[1].best.val_loss))
    for point, outcome in pairs:
        best = outcome.best
        share = proportion(round(best.val_accuracy * count), count)
        table.add_row(*point.values.values(), str(best.epoch), str(share), f"{best.val_loss:.4f}")
    plain_console().print(table)
    click.echo(f"{out}/sweep.csv. To evaluate the best run: catsdogs evaluate --run {out / pairs[0][0].name}")
