"""All of training in one verb: what the training image runs.

catsdogs pipeline petimages --evaluation-only photos --data data --store model-store
"""

import json
from collections.abc import Sequence
from pathlib import Path

import click

from training import cli
from training.cli import FOLDER, RUNTIME

Word = Path | str


@click.command()
@click.argument("pictures", nargs=-1, type=FOLDER)
@click.option("--evaluation-only", multiple=True, type=FOLDER, help="Pictures here, and their twins, are for test.")
@click.option("--data", default="data", show_default=True, type=FOLDER, help="Folder for the manifest and caches.")
@click.option("--store", default="model-store", show_default=True, type=FOLDER, help="Folder for all that is kept.")
@click.option("--name", help="The model's, as clients address it; by default catsdogs for cats and dogs.")
@click.option("--version", default="0.1.0", show_default=True, help="Of the release.")
@click.option("--config", type=FOLDER, help="Your own config instead of training/config.yaml.")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="For example train.epochs=2; repeatable.")
@RUNTIME
@click.option("--allow-poor", is_flag=True, help="Export a model that is not better than the most common class, too.")
@click.option("--run", type=FOLDER, help="Folder for the checkpoints, by default STORE/runs/NAME.")
@click.option("--replace", is_flag=True, help="Replace a release of the same version that has other weights.")
@click.option("--labels", type=FOLDER, help="As for `prepare`: a file with the label of each picture.")
@click.option("--train", multiple=True, type=FOLDER, help="As for `prepare`: pictures for the train split.")
@click.option("--val", multiple=True, type=FOLDER, help="As for `prepare`: pictures for the val split.")
@click.option("--test", multiple=True, type=FOLDER, help="As for `prepare`: pictures for the test split.")
@click.option("--classes-at-top", is_flag=True, help="As for `prepare`: the top folders are the classes.")
@click.option("--keep-near-duplicates", is_flag=True, help="As for `prepare`: keep those across your own split.")
def pipeline(
    pictures: tuple[Path, ...],
    evaluation_only: tuple[Path, ...],
    data: Path,
    store: Path,
    name: str | None,
    version: str,
    config: Path | None,
    overrides: tuple[str, ...],
    runtime: str,
    allow_poor: bool,
    run: Path | None,
    replace: bool,
    labels: Path | None,
    train: tuple[Path, ...],
    val: tuple[Path, ...],
    test: tuple[Path, ...],
    classes_at_top: bool,
    keep_near_duplicates: bool,
) -> None:
    """Make an archive from pictures: prepare, train, evaluate, export, package.

    STORE gets runs/NAME (checkpoints, curves, the report), NAME (the release) and NAME.mar; an earlier release goes to
    releases/NAME-VERSION once the new one is whole. The same command goes on where it was stopped. After more pictures
    a finished run stays as it is: name another --run and another --version.
    """
    if not (pictures or train or val or test or labels):
        raise click.UsageError("Name folders of pictures, as PICTURES, by --train, --val and --test, or by --labels.")
    from training.data import manifest
    from training.release.naming import default_name

    sides = {"--evaluation-only": evaluation_only, "--train": train, "--val": val, "--test": test}
    given = [*(("--labels", labels) if labels else ()), *repeated(sides)]
    given += ["--classes-at-top"] * classes_at_top + ["--keep-near-duplicates"] * keep_near_duplicates
    if name is not None:
        refuse_taken_version(store / name, version, run or store / "runs" / name, replace)
    step(cli.prepare, [*pictures, *given, "--out", data])
    if name is None:
        name = default_name(manifest.read(data).classes)
        refuse_taken_version(store / name, version, run or store / "runs" / name, replace)
    run, release = run or store / "runs" / name, store / name
    chosen = [*(("--config", config) if config else ()), *repeated({"--set": overrides})]
    replacing = ["--replace"] if replace else []
    poor = ["--allow-poor"] if allow_poor else []
    step(cli.train, ["--data", data, "--run", run, "--resume", *chosen])
    step(cli.evaluate, ["--data", data, "--run", run])
    step(
        cli.export,
        ["--data", data, "--run", run, "--out", release, "--version", version, "--name", name, *replacing, *poor],
    )
    step(cli.package, [release, "--out", store / f"{name}.mar", "--runtime", runtime, *replacing])


def step(verb: click.Command, words: Sequence[Word]) -> None:
    arguments = [str(word) for word in words]
    click.echo(f"\n== catsdogs {verb.name} {' '.join(arguments)}", err=True)
    verb.main(arguments, prog_name=f"catsdogs {verb.name}", standalone_mode=False)


def repeated(options: dict[str, tuple[Path, ...]] | dict[str, tuple[str, ...]]) -> list[Word]:
    """Return each option once for each of its values."""
    return [word for option, values in options.items() for value in values for word in (option, value)]


def refuse_taken_version(release: Path, version: str, run: Path, replace: bool) -> None:
    """Refuse, before hours of training, a version that the store has already of another run than this.

    Raises:
        UserError: there is such a release.
    """
    from handler.files import UserError, sha256_file
    from training.release.versions import REPLACE, kept_folder

    for folder in (release, kept_folder(release, version)):
        if replace or not (folder / "release.json").exists():
            continue
        there = json.loads((folder / "release.json").read_bytes())
        best = run / "best.pt"
        ours = best.exists() and there.get("checkpoint_sha256") in (None, sha256_file(best))
        if there.get("version") == version and not ours:
            raise UserError(f"{folder} is version {version} already, and of another run than {run}. {REPLACE}")
