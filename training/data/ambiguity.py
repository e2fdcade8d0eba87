"""Trees of class folders that can be read in two ways are refused, with the folders named and what to do."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from handler.files import UserError
from training.data.class_names import label_of, split_of
from training.data.tree import Folder

AT_TOP = "--classes-at-top"


def check_splits(base: Folder, splits: Sequence[Folder], side: str | None) -> None:
    """Refuse split folders beside others, and in a folder that the user named for one side."""
    others = [folder for folder in base.folders if folder not in splits and folder.any_picture]
    names = _listed(folder.path.name for folder in splits)
    if others:
        raise UserError(
            f"{base.path} holds split folders ({names}) beside others ({_listed(f.path.name for f in others)}), so it "
            f"is unclear which are classes. Name the folders of the split by --train, --val and --test, or, if all of "
            f"them are classes, add {AT_TOP}."
        )
    if side and any(split_of(folder.path.name) != side for folder in splits):
        raise UserError(
            f"{base.path} is named for {side} and holds a split of its own ({names}). Name the folders in it."
        )


def check_no_split_below(base: Folder) -> None:
    """Refuse a split that is made in each class folder."""
    for top in base.folders:
        for folder in top.folders:
            if split_of(folder.path.name) and folder.any_picture:
                raise UserError(
                    f"{folder.path} is named like a split and lies in a class folder. Move it to "
                    f"{base.path}/{folder.path.name}/{top.path.name} to keep the split, and the others likewise; or "
                    f"add {AT_TOP}, so that {top.path.name} is a class and the split is made anew."
                )


def check_depths(base: Folder) -> None:
    """Refuse pictures at several depths below the classes."""
    depths: dict[int, Path] = {}
    for folder in base.walk():
        if folder is not base and folder.picture:
            depths.setdefault(len(folder.path.relative_to(base.path).parts), folder.path)
    if len(depths) > 1:
        higher, deeper = (depths[depth] for depth in sorted(depths)[:2])
        raise UserError(
            f"Pictures lie at several depths: in {higher} and in {deeper}, so it is unclear which folders are classes. "
            f"If each folder directly below {base.path} is a class with all that is in it, add {AT_TOP}; "
            "else move the pictures of each class into one folder."
        )


def check_names(base: Folder) -> None:
    """Refuse a folder's name that stands in several places, as a class does that is sorted by year or source."""
    tops = {label_of(folder.path.name): folder.path for folder in base.folders if folder.any_picture}
    places = dict(tops)
    for top in base.folders:
        for folder in top.walk():
            label = label_of(folder.path.name)
            if folder is top or not folder.any_picture or tops.get(label) == top.path:
                continue
            other = places.setdefault(label, folder.path)
            if other.parent != folder.path.parent:
                parents = " ".join(str(path.parent) for path in (other, folder.path))
                raise UserError(
                    f"The folder {folder.path.name} stands in several places: {other} and {folder.path}. "
                    f"If it is a class, name the folders that hold the classes: catsdogs prepare {parents} "
                    "(or by --train, --val and --test, if they are a split). "
                    f"If the classes are the folders directly below {base.path}, add {AT_TOP}."
                )


def _listed(names: Iterator[str]) -> str:
    some = list(names)
    return ", ".join(some[:5]) + (f" and {len(some) - 5} more" if len(some) > 5 else "")
