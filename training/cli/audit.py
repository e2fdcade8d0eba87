"""The verb audit: candidates for corrections with contact sheets, or the effect of the corrections that were made."""

import json
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from training.cli.options import DATA, FOLDER, options
from training.console import plain_console, progress_bar

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from training.audit.networks import Floats
    from training.data.manifest import Manifest

DEFAULT_NETWORKS = ("timm:tf_efficientnet_lite0", "timm:tf_efficientnet_lite2")
OPTIONS = [
    DATA,
    click.option(
        "--out",
        default="audit",
        show_default=True,
        type=click.Path(path_type=Path, file_okay=False),
        help="Folder for candidates.csv and the sheets.",
    ),
    click.option(
        "--network",
        "networks",
        multiple=True,
        default=DEFAULT_NETWORKS,
        show_default=True,
        metavar="NAME",
        help="ImageNet network that reviews the pictures; at least two, each by this option.",
    ),
    click.option(
        "--size",
        default=160,
        show_default=True,
        type=click.IntRange(32, 1024),
        help="Side of the networks' square input, pixels.",
    ),
    click.option(
        "--limit",
        default=240,
        show_default=True,
        type=click.IntRange(min=1),
        metavar="N",
        help="Number of candidates of each kind.",
    ),
    click.option(
        "--amp",
        default="auto",
        show_default=True,
        type=click.Choice(["auto", "off", "bf16", "fp16"]),
        help="Precision of the networks; auto takes half precision where the processor or GPU computes it natively.",
    ),
    click.option(
        "--workers",
        default=0,
        show_default=True,
        type=click.IntRange(0, 64),
        help="Number of processes that decode pictures; 0 decodes in this one.",
    ),
    click.option(
        "--corrections",
        metavar="FILE",
        type=click.Path(path_type=Path, dir_okay=False),
        help="Corrections that were made: write their effect to OUT/effect.json, and look for no candidates.",
    ),
    click.option(
        "--release",
        type=FOLDER,
        help="Release whose accuracy is measured on the test pictures as they are and corrected; with --corrections.",
    ),
]


@click.command()
@options(OPTIONS)
def audit(
    data: Path,
    out: Path,
    networks: tuple[str, ...],
    size: int,
    limit: int,
    amp: str,
    workers: int,
    corrections: Path | None,
    release: Path | None,
) -> None:
    """Find pictures of no class or of several, near-duplicates of two classes, and likely wrong labels.

    A label is likely wrong if each of the networks gives it a small probability, by a logistic regression on its
    features that was fitted without the picture and its near-duplicates. Outliers are unlike all other pictures. For
    cats and dogs, ImageNet's own classes tell which pictures may show neither and which may show both. OUT gets
    candidates.csv and contact sheets with numbers: look at them, and write the corrections that `prepare
    --corrections` applies. Nothing is corrected by itself. The verb also prints how many labels of each split a network
    agrees with, which is how good it is as a teacher. The networks' features of the pictures are kept in DATA/views for
    the next run.
    """
    from handler.files import UserError
    from training.data import manifest

    if release and not corrections:
        raise UserError("--release is measured with corrections: name them by --corrections.")
    pictures = manifest.read(data)
    if corrections:
        _write_effect(pictures, data, corrections, release, out)
        return
    if len(set(networks)) < 2:
        raise UserError(
            "Name at least two different networks by --network: a picture is listed if all of them doubt its label."
        )
    _write_candidates(pictures, data, out, networks, size, limit, amp, workers)


def _write_candidates(
    pictures: "Manifest",
    data: Path,
    out: Path,
    networks: tuple[str, ...],
    size: int,
    limit: int,
    amp: str,
    workers: int,
) -> None:
    from handler.files import write_atomic
    from training.audit.candidates import KINDS, as_csv, find_candidates
    from training.audit.sheets import write_sheets
    from training.learning.crossfit import check_groups

    check_groups([picture.label for picture in pictures.pictures], [picture.group for picture in pictures.pictures])
    reviews = _reviews(pictures, data, networks, size, amp, workers)
    found = find_candidates(pictures.pictures, pictures.classes, *reviews, limit)
    out.mkdir(parents=True, exist_ok=True)
    write_atomic(out / "candidates.csv", as_csv([candidate for some in found.values() for candidate in some]))
    for kind, some in found.items():
        for sheet in out.glob(f"{kind}-*.png"):
            sheet.unlink()
        sheets = write_sheets(pictures.root, some, out)
        click.echo(f"{kind}: {len(some)} pictures on {len(sheets)} sheets ({KINDS[kind]})")
    click.echo(f"next: look at {out}/*.png, write the corrections into a file, and give it to prepare --corrections")


def _reviews(
    pictures: "Manifest", data: Path, networks: tuple[str, ...], size: int, amp: str, workers: int
) -> "tuple[list[Floats], list[Floats], list[Floats]]":
    """Return each network's cross-fitted probabilities, its shares of animals where the classes are animals, and how
    similar each picture is to others."""
    import numpy as np

    from training.audit.networks import animal_shares, features_of
    from training.audit.outliers import similarity
    from training.learning.crossfit import cross_fitted

    console = plain_console(stderr=True)
    labels = np.array([pictures.classes.index(picture.label) for picture in pictures.pictures], dtype=np.int64)
    groups = [picture.group for picture in pictures.pictures]
    probabilities, shares, similarities = [], [], []
    for arch in dict.fromkeys(networks):
        with progress_bar(console) as progress:
            task = progress.add_task(arch, total=None, rate="")
            features, head = features_of(
                arch,
                pictures,
                data / "views",
                size,
                amp,
                workers,
                partial(_advance, progress, task),
                lambda sentence: click.echo(sentence, err=True),
            )
        with console.status("cross-fitting"):
            probabilities.append(cross_fitted(features[:, None], labels, groups)[:, 0])
            similarities.append(similarity(features))
        animals = animal_shares(features, head, pictures.classes)
        if animals is not None:
            shares.append(animals)
        _echo_agreement(arch, pictures, probabilities[-1])
    _echo_agreement(f"mean of {len(probabilities)} networks", pictures, np.mean(probabilities, axis=0))
    return probabilities, shares, similarities


def _echo_agreement(name: str, pictures: "Manifest", probabilities: "Floats") -> None:
    from training.audit.agreement import agreement

    found = agreement(pictures.pictures, pictures.classes, probabilities)
    right, count = sum(part.right for part in found.values()), sum(part.count for part in found.values())
    parts = "; ".join(f"{split} {part}" for split, part in found.items())
    click.echo(f"{name}: agrees with {100 * right / count:.2f} % of the labels ({parts})")


def _advance(progress: "Progress", task: "TaskID", done: int, total: int) -> None:
    progress.update(task, completed=done, total=total)


def _write_effect(pictures: "Manifest", data: Path, corrections: Path, release: Path | None, out: Path) -> None:
    from training.audit.effect import effect
    from training.data.corrections import read_corrections
    from training.evaluation.trained import write_json

    quarantined = json.loads((data / "summary.json").read_bytes()).get("quarantined_by_reason", {})
    facts = effect(pictures, quarantined, read_corrections(corrections), release)
    out.mkdir(parents=True, exist_ok=True)
    write_json(out / "effect.json", facts)
    for kind, counts in facts["corrections"].items():
        click.echo(f"{kind}: {', '.join(f'{count} in {split}' for split, count in counts.items())}")
    for split, row in facts["ceiling"].items():
        click.echo(
            f"{split}: at most {100 * row['low']:.2f} to {100 * row['high']:.2f} % can be right of {row['count']}"
        )
    for precision, sources in (facts["release"] or {"precisions": {}})["precisions"].items():
        for source, row in sources.items():
            before, after = row["as_they_are"], row["corrected"]
            corrected = f"corrected {100 * after['share']:.2f} %" if after else "no picture left once corrected"
            click.echo(
                f"{precision}, {source}: accuracy on the labels as they are {100 * before['share']:.2f} %, {corrected}"
            )
    if facts["unmatched"]:
        click.echo(f"Rows that match no picture: {facts['unmatched']}.")
    click.echo(f"{out}/effect.json")
