"""Options that several verbs share, and lists of options as one decorator."""

from collections.abc import Callable, Sequence
from functools import reduce
from pathlib import Path
from typing import Any

import click

from training.release.kinds import CPU, kinds
from training.tracking.choice import NAMES

Decorator = Callable[[Any], Any]

FOLDER = click.Path(path_type=Path)
RUNTIME = click.option(
    "--runtime",
    default=CPU,
    show_default=True,
    type=click.Choice(kinds()),
    help="Runtime that the archive is for: cpu carries those for any CPU, torch is for GPUs.",
)
DATA = click.option(
    "--data", default="data", show_default=True, type=FOLDER, help="Folder with the manifest that `prepare` wrote."
)
RUN = click.option(
    "--run", default="runs/first", show_default=True, type=FOLDER, help="Folder of the run that `train` wrote."
)
RELEASE = click.option(
    "--release",
    default="model-store/catsdogs",
    show_default=True,
    type=FOLDER,
    help="Folder of the release, as `export` wrote it.",
)
EVALUATION_ONLY = click.option(
    "--evaluation-only",
    multiple=True,
    type=FOLDER,
    help="Class folders whose pictures, with their near-duplicates, are used only for testing; repeatable.",
)
SPLIT = click.option(
    "--split",
    metavar="N/N/N",
    default="80/10/10",
    show_default=True,
    help="Parts of the pictures for train/val/test. Pictures of a previous manifest stay in their split.",
)
SET = click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Value that replaces one of the config, for example train.epochs=2; repeatable.",
)
CLASSES_AT_TOP = click.option(
    "--classes-at-top",
    is_flag=True,
    help="Take each folder directly below PICTURES as a class, with all folders in it, whatever their names.",
)
KEEP_NEAR_DUPLICATES = click.option(
    "--keep-near-duplicates",
    is_flag=True,
    help="Keep near-duplicates that are in different splits of your own. By default those of test and val pictures "
    "are taken out of the train split.",
)
SPECIES = click.option(
    "--species",
    is_flag=True,
    help="Take the species, cat and dog, as the classes of Oxford-IIIT Pet. By default they are its 37 breeds.",
)
OFFICIAL_SPLIT = click.option(
    "--official-split",
    is_flag=True,
    help="Keep the split of Oxford-IIIT Pet and CIFAR10 as published: test stays test, and val is taken from train.",
)
LABELS = click.option(
    "--labels",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="CSV file with the columns path and label, or lines of a path and a label, used instead of class folders. "
    "Paths are relative to this file or to PICTURES.",
)
CORRECTIONS = click.option(
    "--corrections",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="CSV file with the columns sha256, action and reason: pictures to remove (remove) or to label otherwise "
    "(label:CLASS). The other pictures stay in their split.",
)
TRACKER = click.option(
    "--tracker",
    envvar="CATSDOGS_TRACKER",
    show_envvar=True,
    show_default="that of the run's earlier steps, else none",
    type=click.Choice(NAMES),
    help="Record parameters, curves, figures and the network: MLflow at MLFLOW_TRACKING_URI or in mlflow.db, or "
    "Weights & Biases.",
)
UNSEEN_HELP = "Leave out val and test pictures that {} trained on, instead of refusing them."


def own_split(side: str, name: str | None = None) -> Decorator:
    """Return the option that names class folders for one side of the user's own split."""
    help = f"Folder of class folders for the {side} split; repeatable."
    return click.option(f"--{side}", *([name] if name else []), multiple=True, type=FOLDER, help=help)


def replace(artefact: str) -> Decorator:
    """Return the option that allows to replace a release or an archive."""
    return click.option(
        "--replace", is_flag=True, help=f"Replace {artefact} of the same version that has other weights."
    )


def options(decorators: Sequence[Decorator]) -> Decorator:
    """Return the options as one decorator; the first one stands first in the help."""
    return lambda function: reduce(lambda decorated, option: option(decorated), reversed(decorators), function)
