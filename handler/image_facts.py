"""Facts about an encoded picture that Pillow does not keep, beside the image that it opened."""

from dataclasses import dataclass

from PIL import Image

from handler.metadata import read_orientation
from handler.tiff import Samples

# Key in the image's info.
FACTS = "catsdogs"


@dataclass(frozen=True, slots=True)
class Facts:
    """Metadata of the file that Pillow does not keep."""

    turn: int = 1
    """EXIF's orientation."""
    has_one_scan: bool = True
    unended: bytes | None = None
    """A JPEG's own bytes where it has no end marker."""
    samples: Samples | None = None
    significant_bits: int | None = None
    deep: bool = False
    """Whether Pillow drops half of its 16 bits."""


def facts_of(image: Image.Image) -> Facts:
    """Those that `open_image` found; of an image that Pillow opened, its orientation."""
    facts = image.info.get(FACTS)
    if isinstance(facts, Facts):
        return facts
    return Facts(turn=read_orientation(image.info.get("exif"), image.info.get("xmp")))
