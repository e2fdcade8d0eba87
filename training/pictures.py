"""One picture of a manifest, from its file."""

import io
from pathlib import Path

from PIL import Image

from handler.preprocess import upright
from training.manifest import Picture


def read_picture(root: Path, picture: Picture) -> bytes:
    return (root / picture.path).read_bytes()


def open_upright(root: Path, picture: Picture) -> Image.Image:
    """Decoded, RGB, turned as EXIF says."""
    return upright(Image.open(io.BytesIO(read_picture(root, picture))))
