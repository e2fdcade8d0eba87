"""Archives with other members than `catsdogs package` would give them."""

import hashlib
import io
import zipfile
from collections.abc import Mapping
from pathlib import Path

from handler.members import LIST, list_of


def read_members(archive: Path) -> dict[str, bytes]:
    """Its members by name, without the list of them."""
    with zipfile.ZipFile(archive) as packed:
        return {name: packed.read(name) for name in packed.namelist() if name != LIST}


def with_list(members: Mapping[str, bytes]) -> dict[str, bytes]:
    """These members and a list that is right for them, as somebody writes it who can write everything."""
    rest = {name: data for name, data in members.items() if name != LIST}
    return {**rest, LIST: list_of({name: hashlib.sha256(data).hexdigest() for name, data in rest.items()})}


def zip_of(members: Mapping[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    """A zip of these members as they are, sorted."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as packed:
        for name in sorted(members):
            packed.writestr(zipfile.ZipInfo(name), members[name], method)
    return buffer.getvalue()


def write_archive(out: Path, members: Mapping[str, bytes]) -> Path:
    """An archive of these members, with a list that is right for them."""
    out.write_bytes(zip_of(with_list(members)))
    return out
