"""The files of a registered version: the release's folder, and the archive that `package` makes of it.

release/          the release, file by file
NAME.mar          the archive for any CPU
"""

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from handler.files import UserError, sha256_file
from handler.release import Release
from training.registry.registry import (
    ARCHIVE,
    ARCHIVE_BYTES,
    ARCHIVE_SHA256,
    RELEASE,
    RELEASE_SHA256,
    RUN_ID,
    WEIGHTS_SHA256,
    Registry,
    Version,
    release_sha256,
)
from training.release.kinds import CPU
from training.release.package import package, read_facts

RELEASE_FOLDER = "release"
CARD = "MODEL_CARD.md"
# From release.json into tags, which make a version searchable.
FACTS = ("manifest_sha256", "evaluated_manifest_sha256", "git_sha", "config_sha256", "checkpoint_sha256")


@dataclass(frozen=True, slots=True)
class Contents:
    """The files of a version in a folder of this machine, and the tags that say what they are."""

    folder: Path
    facts: Release
    tags: Mapping[str, str]

    @property
    def archive(self) -> Path:
        return self.folder / self.tags[ARCHIVE]

    @property
    def release(self) -> Path:
        return self.folder / RELEASE_FOLDER


def stage(release: Path, folder: Path) -> Contents:
    """Copy a release to `folder`, an empty folder, with its archive beside it.

    Raises:
        UserError: it is incomplete or corrupted, or cannot be packaged.
    """
    facts = read_facts(release)
    names = sorted({*facts.files, "release.json", *([CARD] if (release / CARD).exists() else [])})
    (folder / RELEASE_FOLDER).mkdir(parents=True)
    for name in names:
        try:
            shutil.copyfile(release / name, folder / RELEASE_FOLDER / name)
        except FileNotFoundError as error:
            raise UserError(f"{release / name} is missing. Export the release again.") from error
    archive = folder / f"{facts.name}.mar"
    archive_sha256 = package(folder / RELEASE_FOLDER, archive, CPU)
    sha256s = {name: sha256_file(folder / RELEASE_FOLDER / name) for name in names}
    values: dict[str, Any] = json.loads((folder / RELEASE_FOLDER / "release.json").read_bytes())
    tags = {
        RELEASE: facts.version,
        RELEASE_SHA256: release_sha256(sha256s),
        **{f"sha256.{name}": sha256 for name, sha256 in sha256s.items()},
        ARCHIVE: archive.name,
        ARCHIVE_SHA256: archive_sha256,
        ARCHIVE_BYTES: str(archive.stat().st_size),
        WEIGHTS_SHA256: facts.weights_sha256,
        **({RUN_ID: facts.run_id} if facts.run_id else {}),
        **{name: str(values[name]) for name in FACTS if values.get(name)},
    }
    return Contents(folder, facts, tags)


def fetch(registry: Registry, version: Version, out: Path) -> Contents:
    """Download a version's files to `out`, an empty folder, and verify each by its SHA-256.

    Raises:
        UserError: a file is missing or is another one.
    """
    folder = registry.download(version, out)
    for name, sha256 in sha256_tags(version).items():
        path = folder / name
        if not path.is_file():
            raise UserError(f"{version} is incomplete: the registry {registry.place} has no {name} of it.")
        if (actual := sha256_file(path)) != sha256:
            raise UserError(f"{version} is corrupted: the SHA-256 of {name} is {actual}, its tag says {sha256}.")
    return Contents(folder, read_facts(folder / RELEASE_FOLDER), version.tags)


def sha256_tags(version: Version) -> dict[str, str]:
    """Return the SHA-256 of each file of a version, by its path.

    Raises:
        UserError: the version was not registered by `promote`.
    """
    tags = version.tags
    files = {
        f"{RELEASE_FOLDER}/{name.removeprefix('sha256.')}": value
        for name, value in tags.items()
        if name.startswith("sha256.")
    }
    if ARCHIVE not in tags or ARCHIVE_SHA256 not in tags or not files:
        raise UserError(f"{version} was not registered by catsdogs promote: it names no archive.")
    return {**files, tags[ARCHIVE]: tags[ARCHIVE_SHA256]}
