"""Members of a tar file, one after the other and without a file on the disk.

Only headers are interpreted, each of bounded size. The standard library's reader takes a long name or a sparse map as
large as a header says, and a hostile tar says gigabytes. Links, devices and folders are passed over; names are text and
never paths.
"""

import gzip
import io
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

BLOCK = 512
# A name of 4096 bytes is the longest that Linux takes; a pax header has a few fields beside it.
MAX_HEADER = 1 << 16
MAX_NAME = 4096
# Headers without a file between them.
MAX_HEADERS = 64
CHUNK = 1 << 20
SUFFIXES = (".tar", ".tar.gz", ".tgz")
REGULAR = (b"0", b"\0", b"7")
LONG_NAME, LONG_LINK, PAX, PAX_GLOBAL, SPARSE = b"L", b"K", b"x", b"g", b"S"
RECORD = re.compile(rb"(\d{1,10}) ([^=\n]{1,100})=")


class BrokenTar(Exception):
    """The file is no tar, or is broken or cut off. Its text is a sentence."""


class Stream(Protocol):
    """Bytes that are read forwards."""

    def read(self, size: int = -1, /) -> bytes: ...
    def close(self) -> None: ...


def is_tar(name: str) -> bool:
    """Whether a file's name is that of a tar."""
    return name.lower().endswith(SUFFIXES)


@dataclass(slots=True)
class Member:
    """A file in a tar. Its content can be read until the next member is asked for."""

    name: str
    size: int
    tar: "Tar" = field(repr=False)

    def read(self, size: int) -> bytes:
        """Return the next bytes of the content, at most `size`."""
        return self.tar.read_content(size)


class Tar:
    """A tar file that is read forwards, compressed by gzip or not."""

    def __init__(self, stream: Stream) -> None:
        start = stream.read(2)
        joined = _Joined(start, stream)
        self.stream: Stream = gzip.GzipFile(mode="rb", fileobj=joined) if start == b"\x1f\x8b" else joined
        self.left = self.padding = 0

    def members(self) -> Iterator[Member]:
        """Yield the files.

        Raises:
            BrokenTar: the rest cannot be read.
        """
        name: str | None = None
        size: int | None = None
        headers = 0
        any_yet = False
        while True:
            self._skip(self.left + self.padding)
            # Some tars have no end mark.
            header = self._read(BLOCK, end_may_be=any_yet)
            if not header.strip(b"\0"):
                return
            any_yet = True
            _check_sum(header)
            kind, length = header[156:157], _number(header[124:136])
            headers += 1
            if headers > MAX_HEADERS:
                raise BrokenTar("The tar has too many headers without a file.")
            if kind in (LONG_NAME, PAX):
                data = self._header_data(length)
                if kind == LONG_NAME:
                    name = _text(data.rstrip(b"\0"))
                else:
                    name, size = _pax(data, name, size)
                continue
            aside = kind in (LONG_LINK, PAX_GLOBAL)
            self.left = length if size is None or aside else size
            self.padding = -self.left % BLOCK
            if kind == SPARSE:
                self._skip_map(header[482])
            full = name if name is not None else _name(header)
            if kind in REGULAR and not full.endswith("/"):
                yield Member(full, self.left, self)
            if not aside:
                name, size, headers = None, None, 0

    def read_content(self, size: int) -> bytes:
        data = self._read(min(size, self.left))
        self.left -= len(data)
        return data

    def _header_data(self, length: int) -> bytes:
        if length > MAX_HEADER:
            raise BrokenTar(f"The tar has a header of {length} bytes; the limit is {MAX_HEADER}.")
        data = self._read(length)
        self.left, self.padding = 0, -length % BLOCK
        return data

    def _skip_map(self, more: int) -> None:
        """Skip the blocks with the rest of a sparse file's map, each of which says whether another follows."""
        while more:
            more = self._read(BLOCK)[504]

    def _skip(self, size: int) -> None:
        while size:
            size -= len(self._read(min(size, CHUNK)))
        self.left = self.padding = 0

    def _read(self, size: int, end_may_be: bool = False) -> bytes:
        """Return exactly so many bytes, or none at the file's end where that may be here."""
        data = bytearray()
        try:
            while len(data) < size:
                block = self.stream.read(size - len(data))
                if not block and not data and end_may_be:
                    return b""
                if not block:
                    raise BrokenTar("The tar is cut off.")
                data += block
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise BrokenTar("The tar is cut off, or its compression is broken.") from error
        return bytes(data)


class _Joined(io.RawIOBase):
    """The first bytes of a stream, which were read already, and the rest."""

    def __init__(self, start: bytes, rest: Stream) -> None:
        self.start, self.rest = start, rest

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        if self.start:
            taken, self.start = self.start[:size], self.start[size:]
            return taken
        return self.rest.read(size)


def _check_sum(header: bytes) -> None:
    wanted = _number(header[148:156])
    blank = header[:148] + b" " * 8 + header[156:]
    if wanted != sum(blank):
        raise BrokenTar("This is no tar, or it is broken: a header's checksum is wrong.")


def _number(text: bytes) -> int:
    """Return a number of a header: octal digits, or GNU's bytes for large ones."""
    if text[0] == 0x80:
        return int.from_bytes(text[1:], "big")
    digits = text.strip(b" \0")
    try:
        number = int(digits or b"0", 8)
    except ValueError:
        number = -1
    if number < 0:
        raise BrokenTar("This is no tar, or it is broken: a header has no number where one must be.")
    return number


def _name(header: bytes) -> str:
    """Return the name in a header, with the prefix that ustar has and GNU's format has not."""
    name = header[:100].partition(b"\0")[0]
    prefix = header[345:500].partition(b"\0")[0] if header[257:263] == b"ustar\0" else b""
    return _text(prefix + b"/" + name if prefix else name)


def _text(name: bytes) -> str:
    return name[:MAX_NAME].decode(errors="surrogateescape")


def _pax(data: bytes, name: str | None, size: int | None) -> tuple[str | None, int | None]:
    """Return the name and the size that a pax header gives the next file, else those of before."""
    while data:
        match = RECORD.match(data)
        length = int(match[1]) if match else 0
        if match is None or not match.end() < length <= len(data):
            raise BrokenTar("The tar is broken: a pax header has a record of a wrong length.")
        value = data[match.end() : length].removesuffix(b"\n")
        if match[2] == b"path":
            name = _text(value)
        elif match[2] == b"size":
            if not value.isdigit() or len(value) > 19:
                raise BrokenTar("The tar is broken: a pax header has no number where one must be.")
            size = int(value)
        data = data[length:]
    return name, size
