"""Fixtures and options that the tests of several packages share."""

import zipfile
from pathlib import Path

import pytest

from tests.zoo import ROOT


@pytest.fixture(scope="session")
def archive() -> Path:
    """The archive that `make` packs from the released model."""
    path = ROOT / "model-store" / "catsdogs.mar"
    if not path.exists():
        pytest.fail("model-store/catsdogs.mar is missing: run the tests by make, or `make model-store/catsdogs.mar`")
    return path


@pytest.fixture(scope="session")
def unpacked(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("unpacked")
    with zipfile.ZipFile(archive) as packed:
        packed.extractall(folder)
    return folder
