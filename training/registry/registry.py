"""The interface of a registry: versions of a model with their files, and an alias that names one of them."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from handler.files import UserError
from handler.members import list_of

CHAMPION = "champion"
"""The alias of the version that is served."""
SCHEME = "models:/"
ADDRESS = re.compile(r"models:/(?P<name>[^/@]+)(?:/(?P<number>[0-9]+)|@(?P<alias>[A-Za-z0-9_-]+))")

# Tags of a version.
RELEASE, RELEASE_SHA256 = "release", "release_sha256"
ARCHIVE, ARCHIVE_SHA256, ARCHIVE_BYTES = "archive", "archive_sha256", "archive_bytes"
WEIGHTS_SHA256, RUN_ID = "weights_sha256", "run_id"
VERDICT, TEST_SHA256, PREDECESSOR, PROMOTED_AT = "verdict", "test_sha256", "predecessor", "promoted_at"


@dataclass(frozen=True, slots=True)
class Version:
    """A registered version of a model. Numbers start at 1 and are never used twice."""

    name: str
    number: int
    tags: Mapping[str, str]

    def __str__(self) -> str:
        return f"{self.name} version {self.number} (release {self.tags.get(RELEASE, 'unknown')})"

    @property
    def address(self) -> str:
        return f"{SCHEME}{self.name}/{self.number}"

    @property
    def predecessor(self) -> int | None:
        """The number of the champion before this one, or None where this was the first."""
        number = self.tags.get(PREDECESSOR, "")
        return int(number) if number.isdigit() else None


class Registry(Protocol):
    """A place that versions are kept in."""

    @property
    def place(self) -> str:
        """The address of that place, without a password."""

    def versions(self, name: str) -> list[Version]:
        """Return all versions of a model, the oldest first; none where the model is unknown."""

    def champion(self, name: str, alias: str = CHAMPION) -> Version | None:
        """Return the version that an alias names, or None."""

    def register(self, name: str, folder: Path, run: str | None, tags: Mapping[str, str]) -> Version:
        """Store the files of `folder`, then make a version of them: a kill leaves no version without its files.

        Args:
            run: id of the training run that the files are stored with; where the registry does not have it, the files
                get a run of their own.
        """

    def tag(self, version: Version, tags: Mapping[str, str]) -> None: ...

    def move(self, version: Version, alias: str = CHAMPION) -> None:
        """Let an alias name this version, in one step."""

    def attach(self, version: Version, folder: Path, to: str) -> None:
        """Store a folder's files with a version's run, under the name `to`."""

    def download(self, version: Version, out: Path) -> Path:
        """Copy the files of a version to `out`, an empty folder, and return their folder."""


def find_version(registry: Registry, address: str) -> Version:
    """Return the version that `models:/NAME/NUMBER` or `models:/NAME@ALIAS` names.

    Raises:
        UserError: it is no such address, or there is no such version.
    """
    match = ADDRESS.fullmatch(address)
    if match is None:
        raise UserError(f"{address} is not an address of a model: write models:/NAME@champion or models:/NAME/NUMBER.")
    name = match["name"]
    if match["alias"]:
        version = registry.champion(name, match["alias"])
    else:
        version = next((some for some in registry.versions(name) if some.number == int(match["number"])), None)
    if version is None:
        raise UserError(f"The registry {registry.place} has no {address}. Register one by: catsdogs promote")
    return version


def release_sha256(files: Mapping[str, str]) -> str:
    """Return one SHA-256 for a release: that of the list which `sha256sum` makes of its files.

    Args:
        files: sha256 by name.
    """
    return hashlib.sha256(list_of(files)).hexdigest()
