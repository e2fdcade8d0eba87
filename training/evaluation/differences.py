"""A contact sheet of the pictures to which two models give different labels."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from training.data.contact import COLUMNS, SIDE, thumbnail

LINE = 13  # height of a line of the caption in pixels
LETTERS = 22
RIGHT, WRONG = "darkgreen", "firebrick"


@dataclass(frozen=True, slots=True)
class Difference:
    """A picture, its class, and the two labels that it gets."""

    path: str
    truth: str
    old: str
    new: str


def draw_differences(root: Path, differences: Sequence[Difference]) -> bytes:
    """Return a JPEG of the pictures in their order, each above both labels and the truth; a right label is green."""
    caption = 4 * LINE + 4
    rows = -(-len(differences) // COLUMNS)
    page = Image.new("RGB", (COLUMNS * SIDE, rows * (SIDE + caption)), "white")
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(11)
    for number, difference in enumerate(differences):
        left, top = number % COLUMNS * SIDE, number // COLUMNS * (SIDE + caption)
        small = thumbnail(root / difference.path)
        if small is not None:
            page.paste(small, (left + (SIDE - small.width) // 2, top + (SIDE - small.height) // 2))
        lines = [
            (f"old: {difference.old}", RIGHT if difference.old == difference.truth else WRONG),
            (f"new: {difference.new}", RIGHT if difference.new == difference.truth else WRONG),
            (f"is: {difference.truth}", "black"),
            (Path(difference.path).name[-LETTERS:], "gray"),
        ]
        for line, (text, color) in enumerate(lines):
            draw.text((left + 4, top + SIDE + LINE * line), text[:LETTERS], color, font)
    buffer = io.BytesIO()
    page.save(buffer, "JPEG", quality=85)
    return buffer.getvalue()
