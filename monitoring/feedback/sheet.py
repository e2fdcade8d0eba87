"""The contact sheet of a review as one picture, for those who want to look without a browser."""

import io
from collections.abc import Sequence

from PIL import Image, ImageDraw

from common.review_csv import Reviewed
from monitoring.feedback.pictures import SIDE
from training.data.lettering import Font, font_for

NAME = "review.png"
COLUMNS = 6
MAX_ROWS = 20
GAP = 8
LINE = 15
"""Height of a line of text in pixels."""
LINES = 3
RED = "#b00020"


def png(cells: Sequence[tuple[Reviewed, Image.Image | None]]) -> bytes:
    """Return a PNG of the first pictures, each above the label given, the prediction and the decision."""
    cells = cells[: COLUMNS * MAX_ROWS]
    width, height = SIDE + GAP, SIDE + LINES * LINE + GAP
    page = Image.new("RGB", (COLUMNS * width + GAP, max(1, -(-len(cells) // COLUMNS)) * height + GAP), "white")
    draw = ImageDraw.Draw(page)
    for number, (row, small) in enumerate(cells):
        left, top = GAP + number % COLUMNS * width, GAP + number // COLUMNS * height
        if small is None:
            draw.rectangle((left, top, left + SIDE - 1, top + SIDE - 1), outline="#999999")
            draw.text((left + SIDE // 2, top + SIDE // 2), "no picture", "#666666", _font("no picture"), anchor="mm")
        else:
            page.paste(small, (left + (SIDE - small.width) // 2, top + (SIDE - small.height) // 2))
        if row.conflict:
            draw.rectangle((left - 2, top - 2, left + SIDE + 1, top + SIDE + 1), outline=RED, width=3)
        for line, (text, color) in enumerate(_captions(row)):
            draw.text((left, top + SIDE + 2 + line * LINE), text, color, _font(text))
    buffer = io.BytesIO()
    page.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def _captions(row: Reviewed) -> list[tuple[str, str]]:
    third = (f"decided: {row.decision}", "black") if row.decision else (row.id[:12], "#666666")
    if row.conflict:
        third = (f"labels: {row.conflict}", RED)
    captions = [(f"user: {row.label}", "black"), (f"model: {row.predicted} {row.probability}", "#444444"), third]
    # A label may be in a script that no font here has.
    return [(text[:26] if _font(text[:26]) else ascii(text)[1:26], color) for text, color in captions]


def _font(text: str) -> Font | None:
    return font_for(text, 11)
