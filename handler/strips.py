"""An image in strips: what is converted, scaled or compared in parts needs no second image of its size."""

from collections.abc import Iterator

from PIL import Image

# 50 megapixels at once would take another 600 MB.
STRIP_PIXELS = 2**20


def strip_rows(width: int) -> int:
    """Return the number of rows of a strip of an image of this width."""
    return max(1, STRIP_PIXELS // width)


def strips(image: Image.Image) -> Iterator[tuple[int, Image.Image]]:
    """Yield the strips from top to bottom, each with the row that it begins at."""
    rows = strip_rows(image.width)
    for top in range(0, image.height, rows):
        yield top, image.crop((0, top, image.width, min(top + rows, image.height)))
