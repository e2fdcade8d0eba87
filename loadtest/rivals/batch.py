"""The batch size of the server, as its archive states it."""

import zipfile
from pathlib import Path

import yaml

from handler.files import UserError

CONFIG = "model-config.yaml"


def served_batch(archive: Path) -> int:
    """Return the largest batch that TorchServe gives to a worker with this archive.

    Raises:
        UserError: there is no archive, or it does not state its batch size.
    """
    try:
        with zipfile.ZipFile(archive) as members:
            return int(yaml.safe_load(members.read(CONFIG))["batchSize"])
    except (OSError, zipfile.BadZipFile, KeyError, TypeError, ValueError, yaml.YAMLError) as error:
        raise UserError(
            f"{archive} does not state its batch size in {CONFIG}. Pack it: catsdogs package model-store/catsdogs"
        ) from error
