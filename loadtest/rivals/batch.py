"""The batch size of the server, as its archive states it, and the precisions that the archive holds."""

import zipfile
from pathlib import Path

import yaml

from handler.files import UserError

CONFIG = "model-config.yaml"
FILES = {"fp32": "model.onnx", "int8": "model.int8.onnx"}
"""Model file of each precision in the archive."""


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


def holds_int8(archive: Path) -> bool:
    """Return whether the archive holds the quantised network."""
    with zipfile.ZipFile(archive) as members:
        return FILES["int8"] in members.namelist()
