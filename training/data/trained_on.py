"""The pictures that a network was trained on: which of those under test it, or a network it came from, has seen.

A record holds the first eight bytes of each picture's sha256, sorted: 160 kB for 20,000 pictures. A group of
near-duplicates is named after a member in the same way, so a record tells of groups too.
"""

import dataclasses
from collections.abc import Iterable, Sequence

import numpy as np

from handler.files import UserError
from training.data.manifest import Manifest, Picture

FILE = "trained_on.bin"  # in a release, and in an archive
BYTES = 8
DIGITS = 2 * BYTES


def record(sha256s: Iterable[str]) -> bytes:
    """Return the record of pictures, by their sha256 in hexadecimal digits."""
    prefixes = sorted({sha256[:DIGITS] for sha256 in sha256s})
    return bytes.fromhex("".join(prefixes))


def union(*records: bytes) -> bytes:
    """Return the record of all pictures that are in any of `records`."""
    return record(prefix for each in records for prefix in prefixes(each))


def prefixes(data: bytes) -> set[str]:
    """Return the first digits of each sha256 in a record.

    Raises:
        ValueError: it is not a record.
    """
    if len(data) % BYTES:
        raise ValueError(f"a record of pictures has a multiple of {BYTES} bytes, not {len(data)}")
    return {row.tobytes().hex() for row in np.frombuffer(data, dtype=np.uint8).reshape(-1, BYTES)}


def seen(manifest: Manifest, pictures: Sequence[Picture], trained_on: bytes) -> list[Picture]:
    """Return those of `pictures` that were trained on, or a near-duplicate of which was."""
    known = prefixes(trained_on)
    groups = {picture.group for picture in manifest.pictures if picture.sha256[:DIGITS] in known}
    return [picture for picture in pictures if picture.group in groups or picture.group[:DIGITS] in known]


def leave_seen_out(manifest: Manifest, trained_on: bytes) -> Manifest:
    """Return the manifest without the val and test pictures that were trained on."""
    held_out = [picture for picture in manifest.pictures if picture.split != "train"]
    known = {picture.path for picture in seen(manifest, held_out, trained_on)}
    kept = [picture for picture in manifest.pictures if picture.path not in known]
    return dataclasses.replace(manifest, pictures=kept)


def refuse_seen(manifest: Manifest, trained_on: bytes, who: str) -> None:
    """Refuse a manifest in whose val or test split are pictures that `who` was trained on.

    Raises:
        UserError: says how many, names one, and what to do.
    """
    for split in ("test", "val"):
        pictures = manifest.split(split)
        if known := seen(manifest, pictures, trained_on):
            raise UserError(
                f"{who} was trained on {len(known)} of the {len(pictures)} {split} pictures, or on near-duplicates of "
                f"them, for example {known[0].path}: no figure on these would hold. Leave them out by --unseen-only, "
                "or split so that each picture stays on its side: catsdogs prepare PICTURES --previous FOLDER, the "
                "folder with the manifest of that training."
            )
