"""The pictures among the files and folders that a user names."""

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from handler.files import UserError
from handler.open_image import MAX_BYTES
from handler.problem import Problem
from handler.sniff import PICTURES, is_picture, kind_of, picture_start

RAW = "camera raw"
# Bytes of a file that tell what it is.
HEAD = 4096
# Files of these names that are no pictures are not skipped: each gets its problem.
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
    **dict.fromkeys((".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf", ".rw2", ".raf", ".raw"), RAW),
}
EMPTY = "The file is empty."


def find_pictures(paths: Sequence[Path], say: Callable[[str], None] = lambda sentence: None) -> list[Path]:
    """Return the files that are named, and the pictures in the folders that are named, sorted.

    Its first bytes tell whether a file in a folder is a picture, as they do for `catsdogs prepare`.
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
                raise UserError(f"{path} holds no pictures ({PICTURES}).{also}")
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
        elif suffix in SUFFIXES or is_one(file):
            pictures.append(file)
        elif name := unread(file):
            formats[name] += 1
        else:
            others[suffix or "none"] += 1
    parts = []
    if formats:
        parts.append(f"{listed(formats)} (not read: save them as JPEG or PNG)")
    if hidden:
        parts.append(f"{hidden} hidden")
    if others:
        parts.append(f"{others.total()} that are no pictures ({', '.join(sorted(others))})")
    count = hidden + formats.total() + others.total()
    noun = "file" if count == 1 else "files"
    return pictures, f"Skipped {count} {noun} in {folder}: {'; '.join(parts)}." if parts else ""


def is_one(file: Path) -> bool:
    """Whether a file begins as a picture that is read; a camera's raw file may begin as a TIFF does."""
    head = head_of(file)
    return NOT_READ.get(file.suffix.lower()) != RAW and is_picture(head[picture_start(head) :])


def unread(file: Path) -> str | None:
    """Name the format of a picture that is not read here, by its first bytes or else by its name."""
    kind = kind_of(head_of(file)) or ""
    if kind.startswith("a camera's raw file"):
        return RAW
    if kind == "a Photoshop document":
        return "Photoshop"
    return kind if kind in NOT_READ.values() else NOT_READ.get(file.suffix.lower())


def head_of(file: Path) -> bytes:
    """Return a file's first bytes, none where it cannot be read."""
    try:
        with file.open("rb") as opened:
            return opened.read(HEAD)
    except OSError:
        return b""


def listed(counts: Counter[str]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))


def read_picture(path: Path) -> bytes:
    """Return the bytes of a picture's file.

    Raises:
        Problem: it has more bytes than a picture may have. No more are read: a device has no end.
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        size = path.stat().st_size or f"at least {len(data)}"
        raise Problem(413, "too_many_bytes", f"The picture has {size} bytes; the limit is {MAX_BYTES}.")
    return data
