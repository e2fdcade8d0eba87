"""Oxford-IIIT Pet as it is published: images/BREED_NUMBER.jpg, and lists of them in annotations/.

A line of annotations/trainval.txt, test.txt and list.txt is `Abyssinian_100 1 1 1`: the picture, its class, its species
(1 is a cat, 2 a dog) and the number of its breed within the species. images/ has pictures that no list names, and a few
files that are no pictures. Source: https://www.robots.ox.ac.uk/~vgg/data/pets/
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from handler.files import UserError
from training.data.layout import Labelled

LISTS = {"trainval": "train", "test": "test", "list": None}
SPECIES = {"1": "cat", "2": "dog"}
NAME = re.compile(r"(?P<breed>\w[\w-]*)_[0-9]+")


@dataclass(frozen=True, slots=True)
class Pets:
    """The pictures that the lists name, and sentences on what was left out."""

    pictures: list[Labelled]
    notes: list[str]


def find_pets(folder: Path) -> Path | None:
    """Return the folder with images/ and annotations/: this one, or the only one in it."""
    for place in (folder, folder / "oxford-iiit-pet"):
        if (place / "images").is_dir() and any((place / "annotations" / f"{name}.txt").is_file() for name in LISTS):
            return place
    return None


def read_pets(folder: Path, species: bool = False, official: bool = False) -> Pets:
    """Read which picture is of which breed.

    Args:
        folder: with images/ and annotations/.
        species: take cat and dog as the classes instead of the breeds.
        official: take the sides of trainval.txt and test.txt, and only the pictures of these.

    Raises:
        UserError: a list is missing or damaged, or a picture that it names.
    """
    sides: dict[str, tuple[str, str | None]] = {}
    for name, side in LISTS.items():
        file = folder / "annotations" / f"{name}.txt"
        if not file.is_file():
            if official and side:
                raise UserError(
                    f"{file} is missing, which has a side of the official split. Unpack annotations.tar.gz."
                )
            continue
        for picture, label in _rows(file, species):
            if name != "list" and picture in sides:
                raise UserError(f"{file}: {picture} is in another list too. Unpack annotations.tar.gz again.")
            sides.setdefault(picture, (label, side))
    if official:
        sides = {picture: (label, side) for picture, (label, side) in sides.items() if side}
    files = {path.stem: path for path in sorted((folder / "images").iterdir()) if _is_jpeg(path)}
    if missing := [picture for picture in sides if picture not in files]:
        raise UserError(
            f"{folder}/images has no {missing[0]}.jpg, which annotations/ names"
            f"{f', nor {len(missing) - 1} others' if len(missing) > 1 else ''}. Unpack images.tar.gz again."
        )
    labels = {label for label, _ in sides.values()}
    notes = [
        f"{folder} is Oxford-IIIT Pet: {len(sides)} pictures of {len(labels)} {'species' if species else 'breeds'}."
    ]
    if unlisted := len(files) - len(sides):
        notes.append(f"Left out of {folder}/images, since no list of annotations/ names them: {unlisted}.")
    pictures = [Labelled(files[picture], label, side if official else None) for picture, (label, side) in sides.items()]
    return Pets(pictures, notes)


def _is_jpeg(path: Path) -> bool:
    return path.suffix == ".jpg" and not path.name.startswith(".")


def _rows(file: Path, species: bool) -> Iterator[tuple[str, str]]:
    """Yield the name and the label of each picture of a list."""
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{file} cannot be read: {error}.") from error
    for number, line in enumerate(lines, start=1):
        words = line.split()
        if not words or line.startswith("#"):
            continue
        match = NAME.fullmatch(words[0])
        if match is None or len(words) != 4 or words[2] not in SPECIES:
            raise UserError(
                f"{file}, line {number}: it must be a picture and three numbers, such as Abyssinian_100 1 1 1."
            )
        yield words[0], SPECIES[words[2]] if species else match["breed"]
