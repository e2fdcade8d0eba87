"""One picture of a manifest, from its file."""

from pathlib import Path

from PIL import Image

from handler.preprocess import open_image, upright
from training.data.manifest import Picture


def read_picture(root: Path, picture: Picture) -> bytes:
    return (root / picture.path).read_bytes()


def open_upright(root: Path, picture: Picture) -> Image.Image:
    """Decoded, RGB, turned as EXIF says."""
    return upright(open_image(read_picture(root, picture)))
