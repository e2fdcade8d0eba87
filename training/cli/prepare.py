"""The verb prepare: from folders of pictures to a manifest."""

import dataclasses
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console

from training.cli.options import (
    CLASSES_AT_TOP,
    CORRECTIONS,
    EVALUATION_ONLY,
    FOLDER,
    KEEP_NEAR_DUPLICATES,
    LABELS,
    OFFICIAL_SPLIT,
    SPECIES,
    SPLIT,
    options,
    own_split,
)
from training.console import plain_console, progress_bar

if TYPE_CHECKING:
    from training.data.manifest import Prepared
    from training.data.split import Ratios

MAX_RATIO = 10
OPTIONS = [
    EVALUATION_ONLY,
    click.option(
        "--out", default="data", show_default=True, type=FOLDER, help="Folder for the manifest and its reports."
    ),
    SPLIT,
    click.option(
        "--previous",
        type=FOLDER,
        show_default="OUT, where it has one",
        help="Folder of a previous manifest, whose pictures stay in their split.",
    ),
    click.option("--fresh", is_flag=True, help="Split all pictures again, and ignore a previous manifest."),
    click.option(
        "--download-to",
        default="downloads",
        show_default=True,
        type=FOLDER,
        help="Folder for downloaded datasets and for what is unpacked from zip files.",
    ),
    click.option(
        "--shards",
        is_flag=True,
        help="Pack the pictures into tar files of 200 in OUT/shards. The other verbs then read them from there, and "
        "OUT can be versioned or moved on its own.",
    ),
    click.option("--no-contact", is_flag=True, help="Do not draw contact sheets, OUT/contact/CLASS-SPLIT.jpg."),
    own_split("train", "own_train"),
    own_split("val", "own_val"),
    own_split("test", "own_test"),
    LABELS,
    CLASSES_AT_TOP,
    KEEP_NEAR_DUPLICATES,
    SPECIES,
    OFFICIAL_SPLIT,
    click.option(
        "--feedback",
        multiple=True,
        type=FOLDER,
        metavar="DIR",
        help="Folder of a review by `catsdogs feedback review`: the pictures that were accepted in its review.csv are "
        "added to PICTURES; repeatable.",
    ),
    CORRECTIONS,
]


@click.command()
@click.argument("pictures", nargs=-1, type=FOLDER)
@options(OPTIONS)
def prepare(
    pictures: tuple[Path, ...],
    evaluation_only: tuple[Path, ...],
    out: Path,
    split: str,
    previous: Path | None,
    fresh: bool,
    download_to: Path,
    shards: bool,
    no_contact: bool,
    own_train: tuple[Path, ...],
    own_val: tuple[Path, ...],
    own_test: tuple[Path, ...],
    labels: Path | None,
    feedback: tuple[Path, ...],
    corrections: Path | None,
    **layout: bool,
) -> None:
    """Check pictures, find near-duplicates, and split them into train, val and test.

    PICTURES are folders with one folder per class, zips of such folders, Oxford-IIIT Pet (a folder with images and
    annotations) or CIFAR10 (a folder of its batches, or its archive) as published, or names of datasets to download:
    microsoft-cats-vs-dogs, oxford-iiit-pet, cifar10. Folders named train, val (valid, validation) and test that hold
    class folders are kept as your own split; if val or test is missing, it is taken from train.

    Every picture is decoded fully. Pictures that cannot be used are listed in quarantine.csv with the reason.
    Near-duplicates are always in the same split. To resume after a stop, give the same command again.
    """
    from handler.files import UserError

    ratios = _parse_ratios(split)
    if not (pictures or own_train or labels):
        raise click.UsageError("Missing argument 'PICTURES...': name a folder that holds one folder per class.")
    if fresh and previous:
        raise click.UsageError("--fresh ignores a previous manifest, and --previous names one: give one of the two.")
    if not previous and not fresh and (out / "manifest.csv").exists():
        previous = out
    started, console = time.monotonic(), plain_console(stderr=True)
    named = {"": pictures, "evaluation": evaluation_only, "train": own_train, "val": own_val, "test": own_test}
    try:
        prepared = _prepare(console, named, out, ratios, previous, download_to, labels, feedback, corrections, layout)
        digest = _write(console, prepared, out, previous == out, shards, not no_contact)
    except KeyboardInterrupt:
        raise UserError("Stopped. To resume, give the same command again.") from None
    _report(prepared, out, ratios, time.monotonic() - started, layout["keep_near_duplicates"], digest)


def _parse_ratios(split: str) -> "Ratios":
    try:
        train, val, test = (int(part) for part in split.split("/"))
    except ValueError:
        raise click.BadParameter("three whole numbers, for example 80/10/10", param_hint="--split") from None
    total = train + val + test
    # Small numbers are a ratio, such as 3/1/1; larger ones are meant as percentages.
    if max(train, val, test) > MAX_RATIO and total != 100:
        raise click.BadParameter(f"the parts of {split} add up to {total}, not to 100", param_hint="--split")
    return train, val, test


def _prepare(
    console: Console,
    named: Mapping[str, Sequence[Path]],
    out: Path,
    ratios: "Ratios",
    previous: Path | None,
    download_to: Path,
    labels: Path | None,
    feedback: Sequence[Path],
    corrections: Path | None,
    layout: Mapping[str, bool],
) -> "Prepared":
    """Download and unpack what is named, and scan and split it.

    Args:
        named: PICTURES by "", those for evaluation only, and those of each side of the user's split.
        layout: the flags on how folders are read.
    """
    from training.data import manifest, sources
    from training.data.feedback import check_place
    from training.data.prepare import check_out
    from training.data.prepare import prepare as prepare_pictures

    sides = manifest.read_sides(previous) if previous else {}
    with progress_bar(console) as progress:
        task = progress.add_task("downloading", total=None, rate="MB")

        def megabytes(done: int, total: int) -> None:
            progress.update(task, completed=done // 10**6, total=total // 10**6)

        trees = {side: sources.find(paths, download_to, megabytes) for side, paths in named.items()}
    plain, evaluation_only = trees.pop(""), trees.pop("evaluation")
    searched = plain if labels is None else []
    searched = [*searched, *evaluation_only, *(tree for some in trees.values() for tree in some)]
    check_out(out, searched)
    check_place(feedback, searched)
    with progress_bar(console) as progress:
        task = progress.add_task("decoding", total=None, rate="")
        return prepare_pictures(
            plain,
            evaluation_only,
            ratios,
            lambda done, total: progress.update(task, completed=done, total=total),
            previous=sides,
            kept=out / "scan.jsonl",
            own_split=trees,
            labels=labels,
            feedback=feedback,
            corrections=corrections,
            **layout,
        )


def _write(console: Console, prepared: "Prepared", out: Path, same_folder: bool, shards: bool, sheets: bool) -> str:
    """Write the shards, the manifest and the contact sheets, and return the manifest's sha256."""
    from training.data import contact, manifest

    packed = _pack(console, prepared, out) if shards else prepared
    digest = manifest.write(packed, out, manifest.read_moves(out) if same_folder else [])
    if sheets:
        with console.status("drawing contact sheets"):
            contact.write_sheets(prepared.root, prepared.pictures, digest, out / "contact")
    return digest


def _pack(console: Console, prepared: "Prepared", out: Path) -> "Prepared":
    """Write the shards, and return the result with them as the pictures' place."""
    from training.data.pack import write_shards
    from training.data.shards import FOLDER as SHARDS

    with progress_bar(console) as progress:
        task = progress.add_task("packing", total=None, rate="")
        write_shards(
            prepared.root,
            prepared.pictures,
            out / SHARDS,
            lambda done, total: progress.update(task, completed=done, total=total),
        )
    return dataclasses.replace(prepared, root=Path(SHARDS))


def _report(prepared: "Prepared", out: Path, ratios: "Ratios", seconds: float, kept: bool, digest: str) -> None:
    """Print the table and the sentences, and write them to summary.txt."""
    from handler.files import write_atomic
    from training.data import summary

    table = summary.table(prepared)
    lines = summary.sentences(prepared, ratios, seconds, kept)
    if prepared.quarantine:
        lines.append(f"{summary.set_aside(prepared)} {out}/quarantine.csv says why.")
    lines.append(f"{out}/manifest.csv  sha256 {digest}")
    write_atomic(out / "summary.txt", summary.as_text(table, lines).encode())
    plain_console().print(table)
    click.echo("\n".join(lines))
