"""The verbs of this room: prepare, train, evaluate, export, package, predict. Heavy imports happen in the verb."""

from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

FOLDER = click.Path(path_type=Path)


def progress_bar(console: Console) -> Progress:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)


@click.command()
@click.argument("pictures", nargs=-1, required=True, type=FOLDER)
@click.option("--evaluation-only", multiple=True, type=FOLDER, help="Pictures here, and their twins, are for test.")
@click.option("--out", default="data", show_default=True, type=FOLDER, help="Folder for the manifest.")
@click.option("--split", default="80/10/10", show_default=True, help="Parts for train/val/test.")
def prepare(pictures: tuple[Path, ...], evaluation_only: tuple[Path, ...], out: Path, split: str) -> None:
    """Pictures in class folders -> manifest, split, quarantine.

    PICTURES are trees with one folder per class. Every picture is decoded fully; what cannot be decoded goes to
    quarantine.csv with the reason. Near-duplicates always share a side of the split.
    """
    from training import manifest

    try:
        train, val, test = (int(part) for part in split.split("/"))
    except ValueError:
        raise click.BadParameter("three whole numbers, for example 80/10/10", param_hint="--split") from None
    console = Console(stderr=True)
    with progress_bar(console) as progress:
        task = progress.add_task("decoding", total=None, rate="")
        prepared = manifest.prepare(
            pictures,
            evaluation_only,
            (train, val, test),
            lambda done, total: progress.update(task, completed=done, total=total),
        )
    digest = manifest.write(prepared, out)
    table = Table("class", *manifest.SPLITS, title=f"{len(prepared.pictures)} pictures")
    counts = prepared.counts()
    for label in prepared.classes:
        table.add_row(label, *(str(counts[label, name]) for name in manifest.SPLITS))
    Console().print(table)
    if prepared.quarantine:
        click.echo(f"{len(prepared.quarantine)} files cannot be used; {out}/quarantine.csv says why.")
    click.echo(f"{out}/manifest.csv  sha256 {digest}")


@click.command()
@click.option("--config", type=FOLDER, help="Your own config instead of training/config.yaml.")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="For example train.epochs=2; repeatable.")
@click.option("--data", default="data", show_default=True, type=FOLDER, help="Folder that `prepare` wrote.")
@click.option("--run", default="runs/first", show_default=True, type=FOLDER, help="Folder for the checkpoints.")
@click.option("--resume", is_flag=True, help="Go on with the run that is there.")
def train(config: Path | None, overrides: tuple[str, ...], data: Path, run: Path, resume: bool) -> None:
    """Manifest -> checkpoint.

    One line per epoch; Ctrl-C keeps the last whole epoch, and --resume goes on from it.
    """
    from handler.files import UserError
    from training import config as configs
    from training import manifest
    from training.train import EpochLine
    from training.train import train as run_training

    if resume and config is None and not overrides and (run / "config.yaml").exists():
        config = run / "config.yaml"
    experiment = configs.load(config or configs.DEFAULT, overrides)
    pictures = manifest.read(data)
    console = Console()
    with progress_bar(console) as progress:
        task = progress.add_task("epoch 1", total=None, rate="")

        def on_step(epoch: int, step: int, steps: int, rate: float) -> None:
            progress.update(
                task, description=f"epoch {epoch + 1}", completed=step, total=steps, rate=f"{rate:.0f} pictures/s"
            )

        def on_epoch(line: EpochLine) -> None:
            left = line.seconds * (experiment.train.epochs - line.epoch)
            progress.console.print(
                f"epoch {line.epoch:3}/{experiment.train.epochs}  {line.size:3} px  "
                f"train loss {line.train_loss:.4f}  val loss {line.val_loss:.4f}  "
                f"val accuracy {100 * line.val_accuracy:.2f} %  {line.pictures_per_s:.0f} pictures/s  "
                f"{line.seconds:.0f} s, about {left / 60:.0f} min left",
                highlight=False,
            )

        try:
            best = run_training(experiment, pictures, run, resume, on_step, on_epoch)
        except KeyboardInterrupt:
            raise UserError(f"Stopped. Go on by: catsdogs train --data {data} --run {run} --resume") from None
    click.echo(f"best checkpoint: {best}")
