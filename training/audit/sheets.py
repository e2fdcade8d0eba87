"""Numbered contact sheets of candidates, on which a person decides picture by picture."""

import io
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from handler.files import write_atomic
from training.audit.candidates import Candidate
from training.data.contact import thumbnail

COLUMNS, ROWS = 8, 6
SIDE = 128  # of a picture in pixels
CAPTION = 16  # height of the number and the label below it in pixels


def write_sheets(root: Path, candidates: Sequence[Candidate], folder: Path) -> list[Path]:
    """Write <kind>-<page>.png, up to 48 pictures on each, and return the paths.

    Args:
        root: folder that the pictures' paths are relative to.
        candidates: of one kind; each picture has its number and its label below it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for start in range(0, len(candidates), COLUMNS * ROWS):
        some = candidates[start : start + COLUMNS * ROWS]
        path = folder / f"{some[0].kind}-{start // (COLUMNS * ROWS) + 1:02d}.png"
        write_atomic(path, _sheet(root, some), durable=False)
        written.append(path)
    return written


def _sheet(root: Path, candidates: Sequence[Candidate]) -> bytes:
    rows = -(-len(candidates) // COLUMNS)
    page = Image.new("RGB", (COLUMNS * SIDE, rows * (SIDE + CAPTION)), "white")
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(12)
    with ThreadPoolExecutor() as pool:
        thumbnails = list(pool.map(thumbnail, [root / candidate.path for candidate in candidates]))
    for place, (candidate, small) in enumerate(zip(candidates, thumbnails, strict=True)):
        left, top = place % COLUMNS * SIDE, place // COLUMNS * (SIDE + CAPTION)
        if small is not None:
            page.paste(small, (left + (SIDE - small.width) // 2, top + (SIDE - small.height) // 2))
        label = candidate.label.encode("ascii", "replace").decode()[:14]
        draw.text((left + SIDE // 2, top + SIDE), f"{candidate.number} {label}", "black", font, anchor="ma")
    buffer = io.BytesIO()
    page.save(buffer, "PNG")
    return buffer.getvalue()
