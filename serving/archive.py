"""What a .mar says of itself, read before a server is started on it."""

import hashlib
import importlib.metadata
import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from handler.files import UserError, sha256_file


@dataclass(frozen=True, slots=True)
class Archive:
    path: Path
    name: str
    version: str
    classes: list[str]
    size: int
    """Side of the input in pixels."""
    weights_sha256: str

    def facts(self) -> dict[str, Any]:
        """What may be asked about the model."""
        return {
            "name": self.name,
            "version": self.version,
            "classes": self.classes,
            "size": self.size,
            "sha256": self.weights_sha256,
            "server": importlib.metadata.version("catsdogs"),
        }


def read_archive(path: Path, sha256: str | None = None) -> Archive:
    """Checks an archive and every file that its release.json lists.

    Args:
        sha256: what the archive itself must have, where the caller knows it.

    Raises:
        UserError: it is missing, corrupted, or another one.
    """
    if not path.is_file():
        raise UserError(f"There is no archive {path}. Make it by: catsdogs package")
    if sha256 is not None and (found := sha256_file(path)) != sha256:
        raise UserError(f"{path} is not the archive that was asked for: its sha256 is {found}, not {sha256}.")
    try:
        with zipfile.ZipFile(path) as archive:
            manifest = json.loads(archive.read("MAR-INF/MANIFEST.json"))
            release = json.loads(archive.read("release.json"))
            held = set(archive.namelist())
            for name, wanted in release["files"].items():
                if name in held and hashlib.sha256(archive.read(name)).hexdigest() != wanted:
                    raise UserError(f"{path} is corrupted: {name} in it is not the one of its release.json.")
        model, files = manifest["model"], release["files"]
        return Archive(
            path,
            model["modelName"],
            model["modelVersion"],
            release["classes"],
            release["input"]["size"],
            files["model.safetensors"],
        )
    except (zipfile.BadZipFile, EOFError, KeyError, TypeError, ValueError, OSError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{path} is not an archive of catsdogs, or is corrupted: {error}") from error
