"""The folds of a cross-validation: manifests in which each picture of train and val is in val once."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from sklearn.model_selection import StratifiedGroupKFold  # type: ignore[import-untyped]

from handler.files import UserError
from training.data.manifest import Manifest, Picture, Prepared, write


def make_folds(manifest: Manifest, count: int, seed: int) -> list[list[Picture]]:
    """Return the pictures of each fold, with its part in val and the others in train; the test split stays as it is.

    Near-duplicates are in the same fold, and each fold has about the same share of each class.

    Raises:
        UserError: a class has fewer groups of near-duplicates than there are folds.
    """
    pictures = [picture for picture in manifest.pictures if picture.split != "test"]
    tested = manifest.split("test")
    for label in manifest.classes:
        groups = {picture.group for picture in pictures if picture.label == label}
        if len(groups) < count:
            raise UserError(
                f"{count} folds need {count} pictures of each class that are not near-duplicates of each other. In "
                f"train and val, {label} has {len(groups)}."
            )
    folds = StratifiedGroupKFold(count, shuffle=True, random_state=seed)
    labels, groups_of = [picture.label for picture in pictures], [picture.group for picture in pictures]
    parts = [part for _, part in folds.split(np.zeros(len(pictures)), labels, groups_of)]
    return [_sides(pictures, set(part.tolist()), tested) for part in parts]


def _sides(pictures: Sequence[Picture], val: set[int], tested: Sequence[Picture]) -> list[Picture]:
    changed = [
        dataclasses.replace(picture, split="val" if index in val else "train") for index, picture in enumerate(pictures)
    ]
    return sorted([*changed, *tested], key=lambda picture: picture.path)


def write_fold(manifest: Manifest, pictures: Sequence[Picture], folder: Path) -> None:
    """Write the manifest of a fold, which `catsdogs train --data` takes."""
    write(Prepared(manifest.root, list(pictures), [], names=manifest.names), folder)
