"""Contact sheets: one picture of pictures per class and split, so that a person sees what a model will learn from."""

import io
import re
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from PIL import Image, ImageDraw

from handler.files import write_atomic
from handler.load_image import upright
from handler.open_image import open_image
from training.data.even import evenly
from training.data.lettering import font_for
from training.data.manifest import Picture
from training.data.shards import read_picture_file
from training.data.split import SPLITS

COLUMNS, ROWS = 6, 8
SIDE = 128  # of a picture in pixels
CAPTION = 14  # height of the file's name below it in pixels
# Of a label in a file's name: four bytes each at most, so that the name stays below the 255 of a file system.
LABEL_LENGTH = 48


def write_sheets(root: Path, pictures: Sequence[Picture], digest: str, folder: Path) -> list[Path]:
    """Writes <class>-<split>.jpg for each class and split that has pictures: up to 48, evenly spread by path.

    Where the sheets of the same manifest are there already, nothing is drawn.

    Args:
        root: folder that the pictures' paths are relative to.
        digest: sha256 of the manifest.
        folder: where the sheets go; sheets of classes that are gone are removed.
    """
    cells: dict[tuple[str, str], list[Picture]] = {}
    for picture in pictures:
        cells.setdefault((picture.label, picture.split), []).append(picture)
    names = file_names(sorted({picture.label for picture in pictures}))
    wanted = {
        folder / f"{names[label]}-{split}.jpg": cells[label, split]
        for label in names
        for split in SPLITS
        if (label, split) in cells
    }
    made_of, stamp = folder / ".manifest_sha256", f"{digest} {root}\n".encode(errors="surrogateescape")
    if made_of.exists() and made_of.read_bytes() == stamp and all(path.exists() for path in wanted):
        return list(wanted)
    folder.mkdir(parents=True, exist_ok=True)
    made_of.unlink(missing_ok=True)
    for path in set(folder.glob("*.jpg")) - set(wanted):
        path.unlink()
    with ThreadPoolExecutor() as pool:  # Pillow lets go of the interpreter while it decodes
        for path, members in wanted.items():
            chosen = evenly(members, COLUMNS * ROWS)
            thumbnails = pool.map(thumbnail, [root / picture.path for picture in chosen])
            write_atomic(path, sheet(list(zip(chosen, thumbnails, strict=True))), durable=False)
    write_atomic(made_of, stamp, durable=False)
    return list(wanted)


def file_names(labels: Sequence[str]) -> dict[str, str]:
    """A name for each label that every file system takes, and no other label has."""
    names: dict[str, str] = {}
    taken: Counter[str] = Counter()
    for label in labels:
        name = re.sub(r"[^\w.-]+", "_", label)[:LABEL_LENGTH]
        while taken[name]:
            taken[name] += 1
            name = f"{name}_{taken[name]}"
        taken[name] += 1
        names[label] = name
    return names


def thumbnail(path: Path) -> Image.Image | None:
    """At most SIDE x SIDE pixels; None where the picture was changed meanwhile."""
    try:
        # A JPEG at the smallest of its scales that is no smaller.
        small = upright(open_image(read_picture_file(path)), (SIDE, SIDE))
    except Exception:  # it could be decoded when it was scanned, and a sheet is no place to fail
        return None
    small.thumbnail((SIDE, SIDE))
    return small


def sheet(cells: Sequence[tuple[Picture, Image.Image | None]]) -> bytes:
    """A JPEG of the thumbnails in rows of COLUMNS, each above the end of its file's name."""
    rows = -(-len(cells) // COLUMNS)
    page = Image.new("RGB", (COLUMNS * SIDE, rows * (SIDE + CAPTION)), "white")
    draw = ImageDraw.Draw(page)
    for number, (picture, small) in enumerate(cells):
        left, top = number % COLUMNS * SIDE, number // COLUMNS * (SIDE + CAPTION)
        if small is not None:
            page.paste(small, (left + (SIDE - small.width) // 2, top + (SIDE - small.height) // 2))
        name = "".join(sign if sign.isprintable() else " " for sign in Path(picture.path).name)[-20:]
        font = font_for(name, 10)
        if font is None:  # of a script that no font here has: manifest.csv tells which picture it is
            name, font = f"sha256 {picture.sha256[:12]}", font_for("", 10)
        draw.text((left + SIDE // 2, top + SIDE), name, "black", font, anchor="ma")
    buffer = io.BytesIO()
    page.save(buffer, "JPEG", quality=85)
    return buffer.getvalue()
