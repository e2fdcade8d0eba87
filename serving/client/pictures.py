"""The pictures among the files and folders that a user names."""

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from handler.files import UserError

# By content it is decided whether a file is a picture; by name, which files of a folder are tried.
SUFFIXES = {
    *(".jpg", ".jpeg", ".jpe", ".jif", ".jfif", ".pjpeg", ".pjp"),
    *(".png", ".webp", ".gif", ".tif", ".tiff", ".bmp"),
}
NOT_READ = {
    **dict.fromkeys((".heic", ".heif", ".hif"), "HEIC"),
    ".avif": "AVIF",
    ".jxl": "JPEG XL",
    **dict.fromkeys((".jp2", ".j2k"), "JPEG 2000"),
    ".svg": "SVG",
    ".psd": "Photoshop",
    **dict.fromkeys((".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf", ".rw2", ".raf", ".raw"), "camera raw"),
}
EMPTY = "The file is empty."


def find_pictures(paths: Sequence[Path], say: Callable[[str], None] = lambda sentence: None) -> list[Path]:
    """Return the files that are named, and the pictures in the folders that are named, sorted.

    Hidden files and folders are skipped: macOS puts a `._A.jpg` beside each A.jpg, and thumbnails lie in `.thumbnails`.

    Args:
        say: told in a sentence for each folder what was skipped in it, and why.

    Raises:
        UserError: a path that does not exist, or a folder without pictures.
    """
    pictures: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside, skipped = sort_folder(path)
            if not inside:
                also = f" {skipped}" if skipped else ""
                raise UserError(f"{path} holds no pictures ({', '.join(sorted(SUFFIXES))}).{also}")
            if skipped:
                say(skipped)
            pictures += inside
        elif path.exists():
            pictures.append(path)
        else:
            raise UserError(f"There is no file {path}.")
    return pictures


def sort_folder(folder: Path) -> tuple[list[Path], str]:
    """Return the pictures in a folder, and a sentence about all other files, empty where there are none."""
    pictures: list[Path] = []
    hidden, formats, others = 0, Counter[str](), Counter[str]()
    for file in sorted(folder.rglob("*")):
        suffix = file.suffix.lower()
        if not file.is_file():
            continue
        if any(part.startswith(".") for part in file.relative_to(folder).parts):
            hidden += 1
        elif suffix in SUFFIXES:
            pictures.append(file)
        elif suffix in NOT_READ:
            formats[NOT_READ[suffix]] += 1
        else:
            others[suffix or "none"] += 1
    parts = []
    if formats:
        parts.append(f"{listed(formats)} (not read: save them as JPEG or PNG)")
    if hidden:
        parts.append(f"{hidden} hidden")
    if others:
        parts.append(f"{others.total()} without the suffix of a picture ({', '.join(sorted(others))})")
    count = hidden + formats.total() + others.total()
    noun = "file" if count == 1 else "files"
    return pictures, f"Skipped {count} {noun} in {folder}: {'; '.join(parts)}." if parts else ""


def listed(counts: Counter[str]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))
