"""The meaning of a tree of folders: which folders are classes, and which name a side of the user's own split.

A class is a folder directly below the root, or directly below a folder named train, val or test; what lies deeper
belongs to it. Where a tree can be read in two ways, it is refused with the folders named.
"""

import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from handler.files import UserError
from training.data.ambiguity import AT_TOP, check_depths, check_names, check_no_split_below, check_splits
from training.data.class_names import label_of, split_of
from training.data.tree import Folder, looks_like_picture, read_tree


@dataclass(frozen=True, slots=True)
class Labelled:
    """A file that should be a picture of a class.

    Attributes:
        name: the class as the user wrote it.
        split: the side that the user chose.
        evaluation_only: it lies in a tree that must not be trained on.
    """

    path: Path
    name: str
    split: str | None = None
    evaluation_only: bool = False

    @property
    def label(self) -> str:
        return label_of(self.name)


@dataclass(frozen=True, slots=True)
class Root:
    """A folder that the user named, and what for."""

    path: Path
    split: str | None = None
    evaluation_only: bool = False


@dataclass(slots=True)
class Layout:
    """The files of all roots, what must hold pictures, and what a person should be told.

    Attributes:
        files: by path.
        class_folders: each is meant to be a class.
        loose: pictures that lie beside class folders, so that nobody knows their class.
        notes: sentences.
    """

    files: dict[Path, Labelled] = field(default_factory=dict)
    class_folders: list[Path] = field(default_factory=list)
    loose: list[Path] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, file: Labelled) -> None:
        """Keep the file.

        Raises:
            UserError: it has another class or split already.
        """
        other = self.files.setdefault(file.path, file)
        if other != file:
            raise UserError(f"{file.path} is named twice: as {_said(other)} and as {_said(file)}. Name it once.")

    def display_names(self) -> dict[str, str]:
        """Return for each label the spelling that most of its files have, where it is another one."""
        spellings: dict[str, Counter[str]] = {}
        for file in self.files.values():
            spellings.setdefault(file.label, Counter())[unicodedata.normalize("NFC", file.name)] += 1
        usual = {label: min(names, key=lambda name: (-names[name], name)) for label, names in spellings.items()}
        return {label: usual[label] for label in sorted(usual) if usual[label] != label}


def _said(file: Labelled) -> str:
    side = "for evaluation only" if file.evaluation_only else f"for {file.split}" if file.split else "without a split"
    return f"{file.label}, {side}"


def read_layout(roots: Sequence[Root], classes_at_top: bool = False) -> Layout:
    """Read the trees of class folders.

    Args:
        classes_at_top: the folders directly below each root are classes, whatever they are called and hold.

    Raises:
        UserError: a root is missing, holds no class folders, or can be read in two ways.
    """
    layout = Layout()
    trees, named = [], dict[Path, Root]()
    for root in roots:
        if named.setdefault(root.path, root) != root:
            raise UserError(f"{root.path} is named twice, for different splits. Name it once.")
        if not root.path.is_dir():
            raise UserError(f"{root.path} is not a folder. Name a folder that holds one folder per class.")
        trees.append((root, read_tree(root.path, [other.path for other in roots if other.path != root.path])))
    # A root with one folder alone may hold one class, which the others have too, or wrap a folder of classes.
    known = {label_of(folder.path.name) for _, tree in trees for folder in _certain_classes(tree)}
    for root, tree in trees:
        before = len(layout.files)
        for split, base in _bases(root, tree, classes_at_top, known, layout):
            if not classes_at_top:
                check_no_split_below(base)
                check_depths(base)
                check_names(base)
            layout.loose += filter(looks_like_picture, base.files)
            for folder in base.folders:
                layout.class_folders.append(folder.path)
                for below in folder.walk():
                    for path in below.files:
                        own = None if root.evaluation_only else split
                        layout.add(Labelled(path, folder.path.name, own, root.evaluation_only))
        if len(layout.files) == before and not any(path.is_relative_to(root.path) for path in layout.files):
            hint = (
                f" If it is a class itself, name the folder above it: {root.path.parent}. "
                "If a file says which class each picture has, name it by --labels."
            )
            raise UserError(
                f"{root.path} holds no class folders with pictures (expected {root.path}/cat/1.jpg and so on)."
                f"{hint if tree.picture else ''}"
            )
    layout.class_folders.sort()
    return layout


def _certain_classes(tree: Folder) -> Iterator[Folder]:
    for folder in tree.folders:
        if split_of(folder.path.name):
            yield from folder.folders
        elif len(tree.folders) > 1:
            yield folder


def _bases(
    root: Root, tree: Folder, classes_at_top: bool, known: set[str], layout: Layout
) -> Iterator[tuple[str | None, Folder]]:
    """Yield each folder whose folders are classes, with its side of the split."""
    if classes_at_top:
        yield root.split, tree
        return
    base = tree
    while True:
        splits = [folder for folder in base.folders if split_of(folder.path.name)]
        if splits or not _wraps(base, known):
            break
        (base,) = base.folders
    if base is not tree:
        layout.notes.append(f"The classes were read from {base.path}.")
    if not splits:
        yield root.split, base
        return
    check_splits(base, splits, root.split)
    layout.loose += filter(looks_like_picture, base.files)
    for folder in splits:
        split = split_of(folder.path.name)
        inner = folder
        while _wraps(inner, known) or (len(inner.folders) == 1 and split_of(inner.folders[0].path.name) == split):
            (inner,) = inner.folders
        if inner.picture:
            raise UserError(
                f"{inner.path} is named like a split and holds pictures themselves, for example "
                f"{inner.picture.name}, so their classes are unknown. Put them into class folders "
                f"({inner.path}/cat/{inner.picture.name}) or name their classes in a file, by --labels. "
                f"If {folder.path.name} is a class, add {AT_TOP}."
            )
        if not inner.any_picture:
            raise UserError(f"{folder.path} holds no class folders with pictures. Fill it or take it away.")
        yield root.split or split, inner


def _wraps(folder: Folder, known: set[str]) -> bool:
    """Tell whether the folder holds nothing but one folder of class folders."""
    if len(folder.folders) != 1 or folder.picture:
        return False
    (inner,) = folder.folders
    return bool(inner.folders) and not inner.picture and label_of(inner.path.name) not in known
