"""The verb average: the mean of the weights of several models, measured beside them."""

from pathlib import Path

import click
from rich.table import Table

from training.cli.options import DATA, FOLDER
from training.console import plain_console, progress_bar


@click.command()
@click.argument("models", nargs=-1, required=True, type=FOLDER)
@DATA
@click.option("--run", required=True, type=FOLDER, help="New folder for the checkpoint of the mean.")
@click.option(
    "--size",
    type=click.IntRange(32, 1024),
    show_default="that of the last one's config",
    help="Side of the network's square input at which the models are measured, pixels.",
)
def average(models: tuple[Path, ...], data: Path, run: Path, size: int | None) -> None:
    """Average the weights of several models, and measure their mean beside them.

    MODELS are two or more runs (folders), checkpoints (.pt) or releases (folders) of one network. The mean of models
    that were fine-tuned from the same weights can be better than each of them, and costs a server no more than one.
    Accuracy is that on the val split. --run is then evaluated and exported like the folder of a run, with the config of
    the last one of MODELS.
    """
    from handler.preprocess import InputSpec
    from training.data import manifest
    from training.data.workers import deaths_explained
    from training.evaluation.averaged import accuracies
    from training.learning.average import average as run_average
    from training.learning.average import refuse_folder, source_of, write

    refuse_folder(run)
    pictures, paths = manifest.read(data), [source_of(path) for path in models]
    mean, members = run_average(paths, pictures)
    usual = mean.config["input"]
    spec = InputSpec(size or usual["size"], usual["resize"])
    with progress_bar(plain_console(stderr=True)) as progress, deaths_explained():
        task = progress.add_task("predicting", total=None, rate="")

        def on_progress(done: int, total: int) -> None:
            progress.update(task, completed=done, total=total)

        shares = accuracies(mean, members, pictures, spec, on_progress)
    write(mean, run)
    table = Table("model", "accuracy", "95 % interval", "n", title=f"val split at {spec.size} px")
    for name, row in zip([*map(str, paths), "their mean"], shares, strict=True):
        table.add_row(
            name,
            f"{100 * row.share:.2f} %",
            f"{100 * row.low:.2f} % to {100 * row.high:.2f} %",
            str(row.count),
        )
    plain_console().print(table)
    best = max(shares[:-1], key=lambda row: row.right)
    if shares[-1].right < best.right:
        better = paths[shares.index(best)]
        click.echo(f"The mean is less accurate than {better}. Models that were trained apart have no good mean.")
    click.echo(f"{run / 'best.pt'}")
    click.echo(f"next: catsdogs evaluate --data {data} --run {run} --size {spec.size}")
