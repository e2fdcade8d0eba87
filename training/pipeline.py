"""All of training in one verb: what the training image runs.

catsdogs pipeline petimages --evaluation-only photos --data data --store model-store
"""

from pathlib import Path

import click

from training import cli
from training.cli import FOLDER, RUNTIME


@click.command()
@click.argument("pictures", nargs=-1, required=True, type=FOLDER)
@click.option("--evaluation-only", multiple=True, type=FOLDER, help="Pictures here, and their twins, are for test.")
@click.option("--data", default="data", show_default=True, type=FOLDER, help="Folder for the manifest and caches.")
@click.option("--store", default="model-store", show_default=True, type=FOLDER, help="Folder for all that is kept.")
@click.option("--name", default="catsdogs", show_default=True, help="The model's, as clients address it.")
@click.option("--version", default="0.1.0", show_default=True, help="Of the release.")
@click.option("--config", type=FOLDER, help="Your own config instead of training/config.yaml.")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="For example train.epochs=2; repeatable.")
@RUNTIME
@click.option("--allow-poor", is_flag=True, help="Export a model that is not better than the most common class, too.")
def pipeline(
    pictures: tuple[Path, ...],
    evaluation_only: tuple[Path, ...],
    data: Path,
    store: Path,
    name: str,
    version: str,
    config: Path | None,
    overrides: tuple[str, ...],
    runtime: str,
    allow_poor: bool,
) -> None:
    """Pictures -> archive: all of the above, one after the other.

    STORE gets runs/NAME (checkpoints, curves, the report), NAME (the release) and NAME.mar. The same command goes on
    where it was stopped.
    """
    run, release = store / "runs" / name, store / name
    chosen = [*(("--config", config) if config else ()), *(word for one in overrides for word in ("--set", one))]
    poor = ["--allow-poor"] if allow_poor else []
    held_out = [word for folder in evaluation_only for word in ("--evaluation-only", folder)]
    steps: list[tuple[click.Command, list[Path | str]]] = [
        (cli.prepare, [*pictures, *held_out, "--out", data]),
        (cli.train, ["--data", data, "--run", run, "--resume", *chosen]),
        (cli.evaluate, ["--data", data, "--run", run]),
        (cli.export, ["--data", data, "--run", run, "--out", release, "--version", version, "--name", name, *poor]),
        (cli.package, [release, "--out", store / f"{name}.mar", "--runtime", runtime]),
    ]
    for verb, words in steps:
        arguments = [str(word) for word in words]
        click.echo(f"\n== catsdogs {verb.name} {' '.join(arguments)}", err=True)
        verb.main(arguments, prog_name=f"catsdogs {verb.name}", standalone_mode=False)
