"""Rules for labels: two classes or more, none empty or never trained on, no picture under two labels."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from handler.files import UserError
from training.data.class_names import label_of
from training.data.layout import Layout
from training.data.own_split import side_of
from training.data.scan import Quarantined, Scanned


def usable(
    results: Sequence[Scanned | Quarantined], layout: Layout, root: Path
) -> tuple[list[Scanned], list[Quarantined]]:
    """Return the pictures that can be used, and what is set aside, by path.

    Raises:
        UserError: none can be used, or as `check_classes` and `check_trained_on`.
    """
    labels = {path: file.label for path, file in layout.files.items()}
    scanned, contradictions = set_contradictions_aside([r for r in results if isinstance(r, Scanned)], labels, root)
    broken = [
        Quarantined(Path(row.path).relative_to(root).as_posix(), row.reason)
        for row in results
        if isinstance(row, Quarantined)
    ]
    loose = [
        Quarantined(path.relative_to(root).as_posix(), "no_class: it lies beside the class folders, not in one")
        for path in layout.loose
        if path not in layout.files
    ]
    quarantine = sorted([*broken, *contradictions, *loose], key=lambda row: row.path)
    if not scanned:
        raise UserError(f"None of the {len(results)} files is a picture that can be read: {quarantine[0].reason}")
    check_classes(scanned, labels, layout.class_folders, quarantine, root)
    check_trained_on(scanned, layout)
    return scanned, quarantine


def set_contradictions_aside(
    scanned: Sequence[Scanned], labels: Mapping[Path, str], root: Path
) -> tuple[list[Scanned], list[Quarantined]]:
    """Take out files that hold the same bytes under different labels: one of the labels is wrong, nobody knows which.

    Near-duplicates of different classes stay: two frames may well show a cat and, a step later, a dog.
    """
    same: dict[str, list[Scanned]] = {}
    for picture in scanned:
        same.setdefault(picture.sha256, []).append(picture)
    reasons: dict[Path, str] = {}
    for copies in same.values():
        for picture in copies:
            other = next((copy.path for copy in copies if labels[copy.path] != labels[picture.path]), None)
            if other is not None:
                there = other.relative_to(root).as_posix()
                reasons[picture.path] = f"conflicting_labels: the same bytes are {labels[other]} in {there}"
    return (
        [picture for picture in scanned if picture.path not in reasons],
        [Quarantined(path.relative_to(root).as_posix(), reason) for path, reason in reasons.items()],
    )


def check_classes(
    scanned: Sequence[Scanned],
    labels: Mapping[Path, str],
    class_folders: Sequence[Path],
    quarantine: Sequence[Quarantined],
    root: Path,
) -> None:
    """Refuse what no training can come of, before anything is written.

    Args:
        labels: of each file.
        class_folders: folders that are meant to be classes.
        root: folder that the paths of `quarantine` are relative to.

    Raises:
        UserError: a class has no picture, or one, or is the only one, or its name cannot be printed.
    """
    counts = Counter(labels[picture.path] for picture in scanned)
    for folder in class_folders:
        label = label_of(folder.name)
        if not counts[label]:
            reasons = [row.reason for row in quarantine if labels.get(root / row.path) == label]
            why = f" ({len(reasons)} set aside, the first: {reasons[0].rstrip('.')})" if reasons else ""
            raise UserError(
                f"The class folder {folder} holds no picture that can be used{why}. "
                "Put pictures into it or take it away."
            )
    if len(counts) == 1:
        raise UserError(
            f"A classifier needs two classes, and there is one: {next(iter(counts))}. "
            "Name a folder that holds one folder per class."
        )
    for label, count in sorted(counts.items()):
        if not label.isprintable():
            raise UserError(
                f"The class {label!a} has characters that cannot be printed, which no release may have. Rename its "
                "folder, or its label."
            )
        if count == 1:
            only = next(picture.path for picture in scanned if labels[picture.path] == label)
            raise UserError(
                f"Class {label} has one picture, {only}, which cannot be both trained on and tested. "
                "Put more pictures into its folder or take the folder away."
            )


def check_trained_on(scanned: Sequence[Scanned], layout: Layout) -> None:
    """Refuse a class that the user has put on other sides of the split than that for training alone.

    Raises:
        UserError: there is one.
    """
    files = [layout.files[picture.path] for picture in scanned]
    learnt = {file.label for file in files if side_of(file) == "train"}
    for picture, file in zip(scanned, files, strict=True):
        if file.label not in learnt:
            raise UserError(
                f"Class {file.label} has no picture to train on: {picture.path} is for {side_of(file)} only, and so "
                "are all others. Put pictures of it among those for training, or take the class away."
            )
