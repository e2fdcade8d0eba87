"""The pictures of records: found, verified, and made small by the decoder that the server has."""

import hashlib
import io
import os
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from handler.budget import Exhausted, within
from handler.files import UserError, write_atomic
from handler.load_image import upright
from handler.open_image import MAX_BYTES, open_image
from handler.problem import Problem
from monitoring.feedback.place import Place, Unreadable
from monitoring.feedback.record import Record

SIDE = 160
"""Pixels of a thumbnail's longer side."""
CPU_S = 10.0
"""CPU time that one picture may take."""
KEPT = "pictures"
"""Folder beside review.csv for pictures that came from a bucket."""


class Unusable(Exception):
    """A picture that cannot be reviewed. Its text is the reason, without a full stop."""


@dataclass(frozen=True, slots=True)
class Found:
    """A verified picture: where it lies, and its bytes."""

    path: Path
    data: bytes


@dataclass(slots=True)
class Finder:
    """Finds the pictures of records.

    Attributes:
        folder: where pictures are looked for by their sha256, beside those that lie beside their records.
        out: folder of review.csv.
    """

    place: Place
    out: Path
    folder: Path | None = None
    _by_sha256: dict[str, Path] | None = field(default=None)

    def find(self, record: Record) -> Found | None:
        """Return the verified picture of a record; None where it has none.

        Raises:
            Unusable: its file is another picture, is missing or too large.
        """
        if record.picture is not None:
            return self._beside(record, record.picture)
        path = self._index().get(record.sha256)
        return None if path is None else Found(path, _verified(path.read_bytes(), record.sha256))

    def _beside(self, record: Record, name: str) -> Found:
        path = self.place.path(record.day, name)
        kept = self.out / KEPT / f"{record.sha256}{Path(name).suffix}"
        if path is None and kept.is_file():
            data = kept.read_bytes()
            if hashlib.sha256(data).hexdigest() == record.sha256:
                return Found(kept, data)
        try:
            data = _verified(self.place.read(record.day, name, MAX_BYTES), record.sha256)
        except Unreadable as error:
            raise Unusable(str(error)) from error
        if path is None:
            kept.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(kept, data, durable=False)
        return Found(path or kept, data)

    def _index(self) -> dict[str, Path]:
        """Return the pictures of the folder by their sha256, which is computed once."""
        if self._by_sha256 is None:
            self._by_sha256 = {} if self.folder is None else index(self.folder)
        return self._by_sha256


def index(folder: Path) -> dict[str, Path]:
    """Return the files below a folder by their sha256.

    Raises:
        UserError: it is no folder.
    """
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder. Give a folder of pictures to --pictures.")
    by_sha256: dict[str, Path] = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.is_symlink() and path.stat().st_size <= MAX_BYTES:
            by_sha256.setdefault(hashlib.sha256(path.read_bytes()).hexdigest(), path)
    return by_sha256


def _verified(data: bytes, sha256: str) -> bytes:
    if hashlib.sha256(data).hexdigest() != sha256:
        raise Unusable("its sha256 differs from the record's")
    return data


def thumbnail(data: bytes) -> Image.Image:
    """Return a small upright copy, without anything of the file but its pixels.

    Raises:
        Unusable: it cannot be decoded within the limits of the server.
    """

    def decode() -> Image.Image:
        small = upright(open_image(data), (SIDE, SIDE))
        small.thumbnail((SIDE, SIDE))
        return small

    try:
        return within(CPU_S, decode)
    except Problem as problem:
        raise Unusable(f"{problem.code}: {problem.detail.rstrip('.')}") from problem
    except (Exhausted, MemoryError) as error:
        raise Unusable("it takes too much time or memory to decode") from error
    except Exception as error:
        raise Unusable("it cannot be decoded") from error


def jpeg(image: Image.Image) -> bytes:
    """Return a thumbnail as a JPEG."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=80)
    return buffer.getvalue()


def relative(path: Path, folder: Path) -> str:
    """Return a path as review.csv has it."""
    return Path(os.path.relpath(path.resolve(), folder.resolve())).as_posix()
