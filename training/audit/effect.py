"""The effect of corrections on a data set: how many there are of each kind, the ceiling, and a release's accuracy."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from handler.explanation import named_few
from handler.files import UserError
from handler.preprocess import decode
from training.data.class_names import label_of
from training.data.corrections import Corrections
from training.data.manifest import Manifest, Picture
from training.data.pictures import read_picture
from training.data.split import SPLITS
from training.evaluation.metrics import Ints, proportion
from training.evaluation.sources import domains
from training.release.add_unsure import verified
from training.release.unsure import load_networks, probabilities_of

TEST = "test"


def count_duplicates(pictures: Sequence[Picture]) -> dict[str, dict[str, int]]:
    """Return by split the pictures that have an exact copy, and those that have a near-duplicate, copies included."""
    contents, groups = Counter(p.sha256 for p in pictures), Counter(p.group for p in pictures)
    return {
        split: {
            "exact": sum(contents[p.sha256] > 1 for p in pictures if p.split == split),
            "near": sum(groups[p.group] > 1 for p in pictures if p.split == split),
        }
        for split in SPLITS
    }


def count_corrections(pictures: Sequence[Picture], corrections: Corrections) -> dict[str, dict[str, int]]:
    """Return how many pictures are corrected, by kind and split; a kind is what a reason says before its colon.

    A picture that has the right label already is not counted.
    """
    counts: dict[str, Counter[str]] = {}
    for picture in pictures:
        if _label(picture, corrections) != picture.label:
            kind = corrections.rows[picture.sha256].reason.partition(":")[0]
            counts.setdefault(kind, Counter())[picture.split] += 1
    return {kind: {split: counts[kind][split] for split in SPLITS} for kind in sorted(counts)}


def ceilings(pictures: Sequence[Picture], corrections: Corrections) -> dict[str, dict[str, Any]]:
    """Return by split the accuracy of a network that is right on all other pictures.

    It is counted as wrong on a wrong label. On a picture to be removed, which shows no class or several, it may be
    right by chance: `low` counts it as wrong, `high` as right.
    """
    result = {}
    for split in SPLITS:
        some = [picture for picture in pictures if picture.split == split]
        actions = [(_label(p, corrections), p.label) for p in some]
        removed = sum(right is None for right, _ in actions)
        relabelled = sum(right not in (None, label) for right, label in actions)
        if some:
            result[split] = {
                "count": len(some),
                "removed": removed,
                "relabelled": relabelled,
                "low": (len(some) - removed - relabelled) / len(some),
                "high": (len(some) - relabelled) / len(some),
            }
    return result


def accuracy_both_ways(release: Path, manifest: Manifest, corrections: Corrections) -> dict[str, Any]:
    """Return a release's accuracy on the test split as it is and corrected, by precision and source.

    Raises:
        UserError: the release is incomplete or corrupted, or has other classes.
    """
    facts, _ = verified(release)
    if set(facts.classes) != set(manifest.classes):
        raise UserError(
            f"{release} has the classes {named_few(facts.classes)}, and the manifest has "
            f"{named_few(manifest.classes)}: name the folder of the release's own pictures by --data."
        )
    tested = manifest.split(TEST)
    pixels = [decode(read_picture(manifest.root, picture), facts.input) for picture in tested]
    figures: dict[str, Any] = {}
    for precision, network in load_networks(release).items():
        predicted = probabilities_of(network, pixels, len(facts.classes)).argmax(axis=1)
        figures[precision] = {
            name: both_ways([tested[row] for row in rows], predicted[rows], facts.classes, corrections)
            for name, rows in domains(tested, facts.classes).items()
        }
    return {"name": facts.name, "version": facts.version, "precisions": figures}


def both_ways(
    pictures: Sequence[Picture], predicted: Ints, classes: Sequence[str], corrections: Corrections
) -> dict[str, dict[str, Any] | None]:
    """Return the proportion of right predictions by the labels as they are, and by the corrected ones.

    The latter is None where the corrections remove all pictures.

    Args:
        predicted: number of the predicted class of each picture, (n,).
    """
    as_they_are = np.array([classes[number] == p.label for p, number in zip(pictures, predicted, strict=True)])
    kept = [row for row, picture in enumerate(pictures) if _label(picture, corrections) is not None]
    corrected = [classes[predicted[row]] == _label(pictures[row], corrections) for row in kept]
    return {
        "as_they_are": asdict(proportion(int(as_they_are.sum()), len(as_they_are))),
        "corrected": asdict(proportion(sum(corrected), len(corrected))) if corrected else None,
    }


def _label(picture: Picture, corrections: Corrections) -> str | None:
    """Return a picture's label after correction; None where it is removed."""
    correction = corrections.rows.get(picture.sha256)
    if correction is None:
        return picture.label
    return None if correction.label is None else label_of(correction.label)


def effect(
    manifest: Manifest, quarantined: Mapping[str, int], corrections: Corrections, release: Path | None
) -> dict[str, Any]:
    """Return the effect of corrections as data, for docs/data_audit.json.

    Args:
        quarantined: files that `prepare` set aside, by the code of the reason.
        release: folder of a release that is measured, or None.

    Raises:
        UserError: as `accuracy_both_ways`.
    """
    known = {picture.sha256 for picture in manifest.pictures}
    return {
        "manifest_sha256": manifest.sha256,
        "corrections_sha256": corrections.sha256,
        "pictures": {split: len(manifest.split(split)) for split in SPLITS},
        "quarantined": dict(quarantined),
        "duplicates": count_duplicates(manifest.pictures),
        "corrections": count_corrections(manifest.pictures, corrections),
        "unmatched": len(set(corrections.rows) - known),
        "ceiling": ceilings(manifest.pictures, corrections),
        "release": accuracy_both_ways(release, manifest, corrections) if release else None,
    }
