"""Names of folders: labels of classes, and sides of a split."""

import unicodedata

SPLIT_NAMES = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}


def label_of(name: str) -> str:
    """Return the label of a class: its name, lower-cased, in Unicode's composed form."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).lower())


def split_of(name: str) -> str | None:
    """Return the side of the split that a folder's name stands for."""
    return SPLIT_NAMES.get(name.lower())
