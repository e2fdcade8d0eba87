"""One picture of a manifest, from its file or its shard."""

import hashlib
from pathlib import Path

from PIL import Image

from handler.files import UserError
from handler.load_image import upright
from handler.open_image import open_image
from training.data.manifest import Picture
from training.data.shards import read_picture_file

AGAIN = "catsdogs prepare again."


def read_picture(root: Path, picture: Picture) -> bytes:
    """The bytes of the picture's file, which must be the one that was prepared.

    Raises:
        UserError: it cannot be read, or holds something else.
    """
    path = root / picture.path
    try:
        data = read_picture_file(path)
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}): put it back, or run {AGAIN}") from error
    if hashlib.sha256(data).hexdigest() != picture.sha256:
        raise UserError(f"{path} was changed after it was prepared: put it back as it was, or run {AGAIN}")
    return data


def open_upright(root: Path, picture: Picture) -> Image.Image:
    """Decoded, RGB, turned as EXIF says."""
    return upright(open_image(read_picture(root, picture)))
