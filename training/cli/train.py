"""The verb train: one line per epoch, and what is computed ahead of them."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.table import Table

from training.cli.options import DATA, FOLDER, SET, TRACKER, UNSEEN_HELP, options
from training.cli.train_progress import TrainProgress
from training.console import plain_console, progress_bar

if TYPE_CHECKING:
    from training.config import Config
    from training.data.manifest import Manifest
    from training.learning.history import EpochLine
    from training.learning.throughput import Throughput
    from training.tracking.tracked_run import TrackedRun

OPTIONS = [
    click.option(
        "--config",
        metavar="FILE|NAME",
        help="Your config file, or one that ships: default, scratch, small, release, release-larger, release-robust."
        " Without this and --set: small for fewer than 2,000 pictures to train on, else default.",
    ),
    SET,
    DATA,
    click.option(
        "--run",
        default="runs/first",
        show_default=True,
        type=FOLDER,
        help="Folder for the checkpoints and the curves.",
    ),
    click.option(
        "--cache",
        type=FOLDER,
        show_default="DATA/views",
        help="Folder for decoded pictures and for outputs of frozen networks, which several runs can share.",
    ),
    click.option(
        "--resume", is_flag=True, help="Go on with the run in the folder --run, or begin it where there is none yet."
    ),
    click.option(
        "--measure", is_flag=True, help="Measure pictures per second, with and without the loader; train nothing."
    ),
    click.option("--unseen-only", is_flag=True, help=UNSEEN_HELP.format("the weights to start from were")),
    TRACKER,
    # Of runs that sweep and cv start.
    click.option("--tracked-under", hidden=True),
    click.option("--tracked-as", default="", hidden=True),
]


@click.command()
@options(OPTIONS)
def train(
    config: str | None,
    overrides: tuple[str, ...],
    data: Path,
    run: Path,
    cache: Path | None,
    resume: bool,
    measure: bool,
    unseen_only: bool,
    tracker: str | None,
    tracked_under: str | None,
    tracked_as: str,
) -> None:
    """Train a network on prepared pictures, and keep its best checkpoint.

    One line per epoch; Ctrl-C keeps the last whole epoch, and --resume goes on from it. Several GPUs:
    torchrun --nproc-per-node 4 -m -- catsdogs train ...
    """
    from training.data import manifest

    begins = resume and not measure and not (run / "last.pt").exists()
    if begins:
        _refuse_mistyped(run)
    experiment, note = _read_config(config, overrides, data, run, resume)
    pictures = manifest.read(data)
    if begins and _leads():
        click.echo(f"There is no run in {run} to resume: a new one begins there.", err=True)
    # torch takes seconds to import: after what can be wrong in a config or manifest.
    from training.data.workers import deaths_explained
    from training.learning.start import unseen_by_start

    console = plain_console(quiet=not _leads())  # of several processes the first one speaks
    if resume:
        pictures = _pictures_of_run(run, data, pictures, experiment, TrainProgress.printer(console))
    if unseen_only:
        pictures = unseen_by_start(experiment, pictures)
    with progress_bar(console) as progress, deaths_explained():
        reports = TrainProgress(console, progress, experiment, note)
        if measure:
            _measure(experiment, pictures, cache or data / "views", reports)
        else:
            tracked = partial(_tracked, run, tracker, tracked_under, tracked_as, reports.say)
            _train(experiment, pictures, data, run, cache, resume, reports, tracked)


def _leads() -> bool:
    """Whether this is the first process of a run."""
    return os.environ.get("RANK", "0") == "0"


def _read_config(
    config: str | None, overrides: Sequence[str], data: Path, run: Path, resume: bool
) -> tuple["Config", str]:
    """Return the config of the run, and a sentence on it for the user, or none."""
    from training import config as configs
    from training import recipes
    from training.data import manifest

    path, note = recipes.find_config(config) if config else configs.DEFAULT, ""
    if resume and config is None and (run / "config.yaml").exists():
        path = run / "config.yaml"
    elif config is None and not overrides:
        path, note = recipes.choose_config(len(manifest.read(data).split("train")))
    elif config is None and (start := recipes.config_of_start(overrides)):
        path, note = start, f"The run goes on with the config that its weights were trained by: {start}."
        overrides = ("model.weights_sha256=null", *overrides)
    experiment = configs.load(path, overrides)
    return experiment, note or recipes.warning(experiment, len(manifest.read(data).split("train")))


def _refuse_mistyped(run: Path) -> None:
    """Refuse to begin a run in a folder whose name is likely a mistyped one of another run."""
    from handler.files import UserError
    from training.cli.run_names import mistyped

    if there := mistyped(run):
        raise UserError(
            f"There is no run in {run} to resume. Did you mean --run {there}? To begin a new run, leave out --resume."
        )


def _pictures_of_run(
    run: Path, data: Path, pictures: "Manifest", experiment: "Config", say: Callable[[str], None]
) -> "Manifest":
    """Return the manifest that an unfinished run goes on with, which may be an earlier one than that of `data`."""
    from training.learning.resume import manifest_of, note_if_finished

    own = manifest_of(run, pictures, experiment)
    if note := note_if_finished(run, own, experiment):
        say(note)
    if own.sha256 != pictures.sha256:
        say(
            f"{run} goes on with the {len(own.pictures)} pictures that it was begun with; {data} has "
            f"{len(pictures.pictures)} now."
        )
    return own


def _train(
    experiment: "Config",
    pictures: "Manifest",
    data: Path,
    run: Path,
    cache: Path | None,
    resume: bool,
    reports: TrainProgress,
    tracked: "Callable[[], AbstractContextManager[TrackedRun | None]]",
) -> None:
    from handler.files import UserError
    from training.learning.train import train as run_training

    cache_folder = cache or data / "views"
    try:
        with tracked() as record:

            def on_begin(history: "Sequence[EpochLine]") -> None:
                if record:
                    record.begin(experiment, pictures, history)

            def on_epoch(line: "EpochLine") -> None:
                reports.on_epoch(line)
                if record:
                    record.on_epoch(line)

            callbacks = (reports.on_work, reports.on_step, on_epoch, reports.say, on_begin)
            best = run_training(experiment, pictures, run, resume, cache_folder, *callbacks)
            if record:
                record.finish(best)
    except KeyboardInterrupt:
        again = f"catsdogs train --data {data} --run {run}" + (f" --cache {cache}" if cache else "") + " --resume"
        raise UserError(f"Stopped. Go on by: {again}") from None
    if _leads():
        click.echo(f"best checkpoint: {best}, curves in {run}/curves.png")


@contextmanager
def _tracked(
    run: Path, tracker: str | None, under: str | None, called: str, say: Callable[[str], None]
) -> Iterator["TrackedRun | None"]:
    """The run's record in a tracker, which the first process keeps, or None where there is none."""
    from training.tracking.tracked_run import TrackedRun, tracker_of

    if not _leads() or not (chosen := tracker_of(run, tracker, say)):
        yield None
        return
    record = TrackedRun(*chosen, run, under, called)
    with record.until_end():
        yield record


def _measure(experiment: "Config", pictures: "Manifest", cache: Path, reports: TrainProgress) -> None:
    from training.learning.throughput import measure

    reports.progress.console.print(
        _speeds(measure(experiment, pictures, cache, on_work=reports.on_work, say=reports.say))
    )


def _speeds(rows: "Sequence[Throughput]") -> Table:
    from training.learning.throughput import slowdown_of_all

    table = Table("size", "step alone", "with its loader", "slower by", title="pictures/s")
    for row in rows:
        table.add_row(f"{row.size} px", f"{row.alone:.0f}", f"{row.fed:.0f}", f"{100 * row.slowdown:.1f} %")
    if len(rows) > 1:
        table.add_row("the run", "", "", f"{100 * slowdown_of_all(rows):.1f} %")
    return table
