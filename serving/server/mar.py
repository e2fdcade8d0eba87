"""Read a .mar once, from its first byte to its last, and accept it only in the form that `package` writes.

A zip describes each member twice: in a header before its bytes, which TorchServe's unzip follows, and in a directory at
the end, which Python's follows. The two may differ, overlap or leave gaps, so that one program unpacks what the other
has never seen. Here members are stored without compression, one directly behind the other, both descriptions agree, and
no byte lies before, between or behind them.
"""

import hashlib
import os
import stat
import struct
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from handler.members import CARD, LIST, MANIFEST, MAX_BYTES, RELEASE, check_member_name

LOCAL = struct.Struct("<4s5H3L2H")
CENTRAL = struct.Struct("<4s6H3L5H2L")
END = struct.Struct("<4s4H2LH")
MAX_MEMBERS = 1000
MAX_DIRECTORY = 1 << 20
# The members that are read into memory as a whole.
TEXTS = (CARD, LIST, MANIFEST, RELEASE)
MAX_TEXT = 16 << 20
BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class Member:
    name: str
    size: int
    header: bytes
    """Local header that must precede its bytes."""


@dataclass(frozen=True, slots=True)
class Contents:
    sha256: str
    """sha256 of the whole file; empty where nobody asked for it."""
    sha256s: dict[str, str]
    """sha256 of each member, by name."""
    texts: dict[str, bytes]
    """The members that are small and say what the others are."""


def read_contents(file: BinaryIO, folder: Path | None, hash_whole: bool) -> Contents:
    """Read an archive in one pass, in little memory whatever its size.

    Args:
        folder: where to write the members as they are read; None writes nothing.

    Raises:
        ValueError: the file is not in the form that `package` writes.
    """
    members, directory = read_directory(file)
    whole = hashlib.sha256()
    sha256s, texts = dict[str, str](), dict[str, bytes]()

    def read(size: int) -> bytes:
        block = file.read(size)
        if len(block) != size:
            raise ValueError("it became shorter while it was read")
        if hash_whole:
            whole.update(block)
        return block

    file.seek(0)
    for member in members:
        if read(len(member.header)) != member.header:
            raise ValueError(f"the header of {member.name} is not the one that the directory describes")
        if member.name in TEXTS and member.size > MAX_TEXT:
            raise ValueError(f"{member.name} has {member.size} bytes; the limit is {MAX_TEXT}")
        digest, text, left = hashlib.sha256(), bytearray(), member.size
        with ExitStack() as stack:
            out = stack.enter_context(_create(folder, member.name)) if folder else None
            while left:
                block = read(min(left, BLOCK))
                left -= len(block)
                digest.update(block)
                if out:
                    out.write(block)
                if member.name in TEXTS:
                    text += block
        sha256s[member.name] = digest.hexdigest()
        if member.name in TEXTS:
            texts[member.name] = bytes(text)
    if read(len(directory)) != directory or file.read(1):
        raise ValueError("it changed while it was read")
    return Contents(whole.hexdigest() if hash_whole else "", sha256s, texts)


def _create(folder: Path, name: str) -> BinaryIO:
    target = folder / name
    target.parent.mkdir(parents=True, exist_ok=True)
    return target.open("xb")


def read_directory(file: BinaryIO) -> tuple[list[Member], bytes]:
    """Return the members in the order of their bytes, and the directory itself with all that follows it.

    Raises:
        ValueError: it could be understood in two ways, or is too large.
    """
    length = file.seek(0, os.SEEK_END)
    if length > MAX_BYTES:
        raise ValueError(f"it has {length} bytes; the limit is {MAX_BYTES}")
    file.seek(max(0, length - END.size))
    tail = file.read(END.size)
    if len(tail) != END.size or tail[:4] != b"PK\5\6":
        raise ValueError("it does not end as a zip does")
    _, disk, first_disk, here, count, size, start, comment = END.unpack(tail)
    if (disk, first_disk, here, comment) != (0, 0, count, 0) or start + size + END.size != length:
        raise ValueError("its directory is not directly before its end")
    if count > MAX_MEMBERS or size > MAX_DIRECTORY:
        raise ValueError(f"it has {count} members; the limit is {MAX_MEMBERS}")
    file.seek(start)
    directory = file.read(size)
    members, at, offset = list[Member](), 0, 0
    for _ in range(count):
        member, at = _read_entry(directory, at, offset)
        members.append(member)
        offset += len(member.header) + member.size
    if at != size or offset != start:
        raise ValueError("bytes lie in it that belong to no member")
    _check_names([member.name for member in members])
    return members, directory + tail


def _read_entry(directory: bytes, at: int, offset: int) -> tuple[Member, int]:
    """Return the member of the entry at `at`, whose header must lie at `offset`, and where the next entry begins."""
    if at + CENTRAL.size > len(directory):
        raise ValueError("its directory is cut off")
    fields = CENTRAL.unpack_from(directory, at)
    signature, _, needed, flags, method, time, date, crc, packed, size, name_size, extra, comment, disk = fields[:14]
    _, mode, start = fields[14:]
    after = at + CENTRAL.size + name_size
    raw = directory[at + CENTRAL.size : after]
    if signature != b"PK\1\2" or len(raw) != name_size:
        raise ValueError("its directory is broken")
    name = check_member_name(raw.decode("latin-1"))
    if method or packed != size:
        raise ValueError(f"{name} is compressed, which catsdogs package never does")
    if flags or extra or comment or disk or start != offset:
        raise ValueError(f"{name} is not stored as catsdogs package stores it")
    if stat.S_IFMT(mode >> 16) not in (0, stat.S_IFREG) or mode & 0x10:
        raise ValueError(f"{name} is a link or a folder, not a file")
    header = LOCAL.pack(b"PK\3\4", needed, 0, 0, time, date, crc, size, size, name_size, 0)
    return Member(name, size, header + raw), after


def _check_names(names: list[str]) -> None:
    """Raise ValueError where two members would lie in the same place, also on a disk that knows no capitals."""
    places = set[str]()
    for name in names:
        if name.casefold() in places:
            raise ValueError(f"{name} is in it twice")
        places.add(name.casefold())
    for name in names:
        for parent in Path(name.casefold()).parents:
            if str(parent) in places:
                raise ValueError(f"{name} lies in a folder that is a file of the archive")
