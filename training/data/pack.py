"""The pictures of a manifest -> tar shards, of which an addition changes few.

A picture stays in its shard. New ones fill the last shard and then new shards, in the order of their paths, so that
`dvc push` uploads little after `prepare`. The tars hold no times and no owners: equal pictures give equal bytes.
"""

import hashlib
import io
import tarfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from handler.files import replacing
from training.data.manifest import Picture
from training.data.pictures import read_picture
from training.data.shards import Member, forget, members_of, shards_of

# Enough that a data set is a hundred files, and few enough that an addition uploads megabytes.
PER_SHARD = 200


def write_shards(
    root: Path,
    pictures: Sequence[Picture],
    folder: Path,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Path]:
    """Write the pictures to shards in a folder, and remove what the manifest does not have; return the shards.

    Args:
        root: folder that the pictures' paths are relative to.
        progress: called with shards done and shards in all.

    Raises:
        UserError: a picture was changed since it was scanned, or a shard is damaged.
    """
    folder.mkdir(parents=True, exist_ok=True)
    forget()
    before = {shard: members_of(shard) for shard in shards_of(folder)}
    wanted = {member_name(picture): picture for picture in pictures}
    planned = {shard: _kept(members, wanted) for shard, members in before.items()}
    packed = {name for names in planned.values() for name in names}
    _place([name for name in sorted(wanted) if name not in packed], planned, folder)
    for number, (shard, names) in enumerate(planned.items()):
        if not names:
            shard.unlink()
        elif names != list(before.get(shard, ())):
            _write(shard, [(name, read_picture(root, wanted[name])) for name in names])
        progress(number + 1, len(planned))
    return [shard for shard, names in planned.items() if names]


def member_name(picture: Picture) -> str:
    """Return a picture's path as the manifest spells it."""
    return picture.path.encode(errors="backslashreplace").decode()


def _kept(members: Mapping[str, Member], wanted: Mapping[str, Picture]) -> list[str]:
    """Return the members of a shard that are in the manifest, byte for byte."""
    return [
        name
        for name, member in members.items()
        if name in wanted and hashlib.sha256(member.read()).hexdigest() == wanted[name].sha256
    ]


def _place(new: list[str], planned: dict[Path, list[str]], folder: Path) -> None:
    """Fill the last shard with new members, and then new shards."""
    last = next(reversed(planned), None)
    number = int(last.stem) + 1 if last is not None and last.stem.isdecimal() else len(planned)
    if last is not None and planned[last]:
        room = max(0, PER_SHARD - len(planned[last]))
        planned[last] += new[:room]
        new = new[room:]
    for start in range(0, len(new), PER_SHARD):
        planned[folder / f"{number:05}.tar"] = new[start : start + PER_SHARD]
        number += 1


def _write(shard: Path, members: Sequence[tuple[str, bytes]]) -> None:
    with replacing(shard) as file, tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as packed:
        for name, data in members:
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            packed.addfile(entry, io.BytesIO(data))
