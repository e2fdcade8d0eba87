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
        click.echo(f"Cannot be used: {len(prepared.quarantine)}. {out}/quarantine.csv says why.")
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

    if resume and config is None and (run / "config.yaml").exists():
        config = run / "config.yaml"
    experiment = configs.load(config or configs.DEFAULT, overrides)
    pictures = manifest.read(data)
    # torch takes seconds to import: after what can be wrong in a config or manifest.
    from training.train import EpochLine
    from training.train import train as run_training

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
                soft_wrap=True,
            )

        try:
            best = run_training(experiment, pictures, run, resume, on_step, on_epoch)
        except KeyboardInterrupt:
            raise UserError(f"Stopped. Go on by: catsdogs train --data {data} --run {run} --resume") from None
    click.echo(f"best checkpoint: {best}")


@click.command()
@click.option("--data", default="data", show_default=True, type=FOLDER, help="Folder that `prepare` wrote.")
@click.option("--run", default="runs/first", show_default=True, type=FOLDER, help="Folder that `train` wrote.")
@click.option("--checkpoint", type=FOLDER, help="Another checkpoint than RUN/best.pt.")
@click.option("--split", default="test", show_default=True, type=click.Choice(["train", "val", "test"]))
@click.option("--out", type=FOLDER, help="Folder for the report, by default RUN/evaluation.")
def evaluate(data: Path, run: Path, checkpoint: Path | None, split: str, out: Path | None) -> None:
    """Checkpoint -> accuracy, confusion matrix, worst mistakes.

    Pictures of different top folders are reported apart, each with its 95 % interval.
    """
    from training import manifest
    from training.evaluate import evaluate as run_evaluation

    out = out or run / "evaluation"
    console = Console(stderr=True)
    with progress_bar(console) as progress:
        task = progress.add_task("predicting", total=None, rate="")
        report = run_evaluation(
            checkpoint or run / "best.pt",
            manifest.read(data),
            out,
            split,
            lambda done, total: progress.update(task, completed=done, total=total),
        )
    table = Table("slice", "accuracy", "95 % interval", "n", "log loss", title=f"{split} split")
    for name, figures in report["slices"].items():
        accuracy, low, high = (f"{100 * figures[key]:.2f} %" for key in ("accuracy", "low", "high"))
        table.add_row(name, accuracy, f"{low} to {high}", str(figures["count"]), f"{figures['log_loss']:.4f}")
    Console().print(table)
    click.echo(f"{out}/report.json, confusion matrices and mistakes.png beside it")


@click.command()
@click.option("--data", default="data", show_default=True, type=FOLDER, help="Folder that `prepare` wrote.")
@click.option("--run", default="runs/first", show_default=True, type=FOLDER, help="Folder that `train` wrote.")
@click.option("--out", default="model-store/catsdogs", show_default=True, type=FOLDER, help="Folder of the release.")
@click.option("--version", "release_version", required=True, help="Of the release, for example 0.2.0.")
def export(data: Path, run: Path, out: Path, release_version: str) -> None:
    """Checkpoint -> release: safetensors, ONNX, release.json.

    The ONNX must answer as torch does, or nothing is written. Figures of `evaluate` go into the release where it
    was run on this checkpoint.
    """
    import json

    from handler.files import sha256_file
    from training import manifest
    from training.export import export as run_export
    from training.model import load_checkpoint

    checkpoint = run / "best.pt"
    loaded = load_checkpoint(checkpoint)
    report_path = run / "evaluation" / "report.json"
    report = json.loads(report_path.read_bytes()) if report_path.exists() else None
    if report is None or report["checkpoint_sha256"] != sha256_file(checkpoint):
        report = None
        click.echo("No figures go into the release: run catsdogs evaluate on this checkpoint first.", err=True)
    with Console(stderr=True).status("") as status:
        release = run_export(loaded, manifest.read(data), out, release_version, report, status.update)
    parity = release["parity"]
    click.echo(f"{out}: torch and ONNX agree within {parity['max_difference']} on {parity['pictures']} pictures")
    click.echo(f"next: catsdogs package {out}")


@click.command()
@click.argument("release", default="model-store/catsdogs", type=FOLDER)
@click.option("--out", type=FOLDER, help="The archive, by default RELEASE.mar.")
@click.option("--runtime", default="mnn", show_default=True, type=click.Choice(["mnn", "ort"]))
def package(release: Path, out: Path | None, runtime: str) -> None:
    """Release -> .mar archive for TorchServe.

    RELEASE is a folder that `export` wrote. The same release gives the same archive, byte for byte.
    """
    from training.package import package as run_package

    out = out or Path(f"{release.absolute() if not release.name else release}.mar")
    with Console(stderr=True).status(f"packing {release} for {runtime}"):
        digest = run_package(release, out, runtime)
    click.echo(f"{out}  sha256 {digest}")
