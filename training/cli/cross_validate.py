"""The verb cv: cross-validation in folds that keep near-duplicates together.

catsdogs cv --data data --folds 5
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from training.cli.options import DATA, FOLDER, SET, TRACKER, options
from training.cli.several import CONFIG, JOBS, read_config, teller, write_table

if TYPE_CHECKING:
    from training.experiments.processes import Job, Outcome
    from training.tracking.parent_run import ParentRun

OPTIONS = [
    click.option(
        "--folds", type=click.IntRange(2, 50), default=5, show_default=True, help="Number of folds; each is val once."
    ),
    CONFIG,
    SET,
    DATA,
    click.option(
        "--out",
        default="runs/cv",
        show_default=True,
        type=FOLDER,
        help="Folder for the folds, with a manifest and a run each, and for cv.csv.",
    ),
    JOBS,
    TRACKER,
]


@click.command()
@options(OPTIONS)
def cv(
    folds: int, config: str, overrides: tuple[str, ...], data: Path, out: Path, jobs: int, tracker: str | None
) -> None:
    """Cross-validate a config: train a run on all folds but one, in turn, and measure it on that one.

    The folds are made from the train and val splits, and near-duplicates are in the same fold. Each run is measured at
    its last epoch, since the best epoch would be selected on the fold itself. The test split is not used.
    """
    from common.git import revision
    from handler.files import UserError
    from training.data import manifest
    from training.experiments.folds import make_folds, write_fold
    from training.experiments.processes import train_all
    from training.tracking.naming import params_of
    from training.tracking.parent_run import parent_run

    experiment = read_config(config, overrides)
    pictures = manifest.read(data)
    parts = make_folds(pictures, folds, experiment.train.seed)
    names = [f"fold-{number}" for number in range(1, folds + 1)]
    for name, part in zip(names, parts, strict=True):
        write_fold(pictures, part, out / name / "data")
    counts = [sum(picture.split == "val" for picture in part) for part in parts]
    params = {"folds": folds, **params_of(experiment)}
    tags = {"kind": "cv", "data_sha256": pictures.sha256, "git_sha": revision(Path(__file__).parent) or "unknown"}
    with parent_run(out, tracker, f"cv_{out.name}", params, tags, partial(click.echo, err=True)) as parent:
        members = [_job(name, config, overrides, data, out, parent) for name in names]
        outcomes = train_all(members, min(jobs, folds), parent.environment, teller(folds))
        if failed := [outcome for outcome in outcomes if outcome.failure]:
            raise UserError(f"{failed[0].name} failed: {failed[0].failure} {out}/{failed[0].name}/train.log has more.")
        _conclude(outcomes, counts, out, parent)


def _job(name: str, config: str, overrides: Sequence[str], data: Path, out: Path, parent: "ParentRun") -> "Job":
    from training.experiments.processes import Job
    from training.tracking.naming import run_name

    called = f"{run_name(read_config(config, overrides))}_{name}"
    settings = [word for override in overrides for word in ("--set", override)]
    places = ["--data", str(out / name / "data"), "--cache", str(data / "views")]
    return Job(name, out / name, [*places, "--config", config, *settings, *parent.arguments, "--tracked-as", called])


def _conclude(outcomes: "Sequence[Outcome]", counts: Sequence[int], out: Path, parent: "ParentRun") -> None:
    """Write cv.csv, and print the accuracy over all folds, in which each picture is predicted once."""
    import statistics

    from training.evaluation.metrics import proportion

    lasts = [outcome.history[-1] for outcome in outcomes]
    right = [round(line.val_accuracy * count) for line, count in zip(lasts, counts, strict=True)]
    rows = [
        (outcome.name, count, line.epoch, line.val_accuracy, line.val_loss)
        for outcome, count, line in zip(outcomes, counts, lasts, strict=True)
    ]
    write_table(out / "cv.csv", ["fold", "pictures", "epoch", "val_accuracy", "val_loss"], rows)
    whole = proportion(sum(right), sum(counts))
    spread = statistics.stdev(line.val_accuracy for line in lasts)
    figures = {"cv_accuracy": whole.share, "cv_accuracy_low": whole.low, "cv_accuracy_high": whole.high}
    parent.finish({**figures, "cv_accuracy_sd_of_folds": spread}, out / "cv.csv")
    click.echo(f"accuracy over {len(rows)} folds: {whole}, standard deviation of the folds {100 * spread:.2f} points")
    click.echo(f"{out}/cv.csv")
