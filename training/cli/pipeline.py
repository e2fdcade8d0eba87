"""All of training in one verb: what the training image runs.

catsdogs pipeline petimages --evaluation-only photos --data data --store model-store
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import click

from training.cli.evaluate import evaluate as evaluate_verb
from training.cli.options import (
    CLASSES_AT_TOP,
    CORRECTIONS,
    EVALUATION_ONLY,
    FOLDER,
    KEEP_NEAR_DUPLICATES,
    LABELS,
    OFFICIAL_SPLIT,
    RUNTIME,
    SET,
    SPECIES,
    SPLIT,
    TRACKER,
    options,
    own_split,
    replace,
)
from training.cli.prepare import prepare as prepare_verb
from training.cli.release import export as export_verb
from training.cli.release import package as package_verb
from training.cli.train import train as train_verb

Argument = Path | str
PREPARE_OPTIONS = [
    EVALUATION_ONLY,
    SPLIT,
    LABELS,
    own_split("train"),
    own_split("val"),
    own_split("test"),
    CLASSES_AT_TOP,
    KEEP_NEAR_DUPLICATES,
    SPECIES,
    OFFICIAL_SPLIT,
    CORRECTIONS,
]
OPTIONS = [
    *PREPARE_OPTIONS,
    click.option(
        "--data",
        default="data",
        show_default=True,
        type=FOLDER,
        help="Folder that the manifest and the caches are written to.",
    ),
    click.option(
        "--store",
        default="model-store",
        show_default=True,
        type=FOLDER,
        help="Folder that runs, the release and the archive are written to.",
    ),
    click.option(
        "--name",
        show_default="catsdogs for cats and dogs",
        help="Name of the model, by which clients address it.",
    ),
    click.option("--version", default="0.1.0", show_default=True, help="Version of the release."),
    click.option(
        "--config",
        metavar="FILE|NAME",
        help="Your config file, or one that ships: default, scratch, small, release, release-larger, release-robust."
        " Without this and --set: small for fewer than 2,000 pictures to train on, else default.",
    ),
    SET,
    RUNTIME,
    click.option(
        "--allow-poor",
        is_flag=True,
        help="Export also a model that is not better than always answering the most common class.",
    ),
    click.option(
        "--run", type=FOLDER, show_default="STORE/runs/NAME", help="Folder that the checkpoints are written to."
    ),
    replace("a release or an archive"),
    TRACKER,
]


@click.command()
@click.argument("pictures", nargs=-1, type=FOLDER)
@options(OPTIONS)
def pipeline(
    pictures: tuple[Path, ...],
    data: Path,
    store: Path,
    name: str | None,
    version: str,
    config: str | None,
    overrides: tuple[str, ...],
    runtime: str,
    run: Path | None,
    allow_poor: bool,
    replace: bool,
    tracker: str | None,
    **how_prepared: object,
) -> None:
    """Make an archive from pictures: prepare, train, evaluate, export, package.

    STORE gets runs/NAME (checkpoints, curves, the report), NAME (the release) and NAME.mar; an earlier release goes to
    releases/NAME-VERSION once the new one is complete. To resume after a stop, give the same command again. For more
    pictures, name another --run and another --version, since a finished run is not changed.
    """
    if not (pictures or any(how_prepared[side] for side in ("train", "val", "test", "labels"))):
        raise click.UsageError("Name folders of pictures, as PICTURES, by --train, --val and --test, or by --labels.")
    from training.data import manifest
    from training.release.naming import default_name

    if name is not None:
        refuse_taken_version(store / name, version, run or store / "runs" / name, replace)
    step(prepare_verb, [*pictures, *arguments_of(how_prepared), "--out", data])
    if name is None:
        name = default_name(manifest.read(data).classes)
        refuse_taken_version(store / name, version, run or store / "runs" / name, replace)
    run, release = run or store / "runs" / name, store / name
    places: list[Argument] = ["--data", data, "--run", run]
    tracked = arguments_of({"tracker": tracker})
    # A name that is like an older run's is no mistake here.
    resumed = arguments_of({"resume": (run / "last.pt").exists(), "config": config, "set": overrides})
    step(train_verb, [*places, *resumed, *tracked])
    step(evaluate_verb, [*places, *tracked])
    named: list[Argument] = ["--out", release, "--version", version, "--name", name]
    step(export_verb, [*places, *named, *arguments_of({"replace": replace, "allow_poor": allow_poor})])
    step(
        package_verb,
        [release, "--out", store / f"{name}.mar", "--runtime", runtime, *arguments_of({"replace": replace})],
    )


def step(verb: click.Command, arguments: Sequence[Argument]) -> None:
    texts = [str(argument) for argument in arguments]
    click.echo(f"\n== catsdogs {verb.name} {' '.join(texts)}", err=True)
    verb.main(texts, prog_name=f"catsdogs {verb.name}", standalone_mode=False)


def arguments_of(values: Mapping[str, object]) -> list[Argument]:
    """Return options by name as arguments: a flag where it is set, an option once for each of its values."""
    arguments: list[Argument] = []
    for name, value in values.items():
        option = f"--{name.replace('_', '-')}"
        if value is True:
            arguments.append(option)
        elif value:
            for single in value if isinstance(value, tuple) else (value,):
                arguments += [option, single if isinstance(single, Path) else str(single)]
    return arguments


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
