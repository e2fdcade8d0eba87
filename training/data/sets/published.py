"""Public datasets among the folders that a user named: their labels, and their official split where it is asked for."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from handler.files import UserError
from training.data.layout import Labelled, Root
from training.data.sets.cifar import official_split
from training.data.sets.pets import find_pets, read_pets


@dataclass(slots=True)
class Published:
    """The pictures of public datasets.

    Attributes:
        folders: that these lie in.
        notes: sentences that a person should be told.
        others: the roots that are no public datasets.
    """

    pictures: list[Labelled] = field(default_factory=list)
    folders: list[Path] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    others: list[Root] = field(default_factory=list)


def read_published(roots: Sequence[Root], species: bool = False, official: bool = False) -> Published:
    """Read the public datasets among the roots.

    CIFAR10, once it is unpacked, is one only where its official split is asked for, otherwise it is class folders.

    Args:
        species: take cat and dog as the classes of Oxford-IIIT Pet instead of the breeds.
        official: keep the official split of the roots that have no other side.

    Raises:
        UserError: as read_pets, or no root is such a dataset.
    """
    found, pets, split = Published(), 0, 0
    for root in roots:
        own = official and root.split is None and not root.evaluation_only
        if folder := find_pets(root.path):
            read = read_pets(folder, species, own)
            pictures, pets, split = read.pictures, pets + 1, split + own
            found.notes += read.notes
        elif own and (sides := official_split(root.path)):
            pictures, folder, split = sides, root.path, split + 1
        else:
            found.others.append(root)
            continue
        found.folders.append(folder)
        found.pictures += [
            replace(file, split=file.split if own else root.split, evaluation_only=root.evaluation_only)
            for file in pictures
        ]
    if species and not pets:
        raise UserError("--species is for Oxford-IIIT Pet, and no folder has its images and annotations. Leave it out.")
    if official and not split:
        raise UserError(
            "--official-split is for Oxford-IIIT Pet and for CIFAR10 with its test_batch, and PICTURES are neither. "
            "Leave it out; folders named train, val and test are kept as they are."
        )
    return found
