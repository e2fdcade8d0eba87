"""Fixtures and options that the tests of several packages share."""

import zipfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

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


@pytest.fixture(scope="session", autouse=True)
def _authorities_are_read_once() -> Iterator[None]:
    """Share one TLS context among httpx' clients, each of which takes 20 ms of CPU time to read the authorities."""
    if find_spec("httpx") is None:
        yield
        return
    from httpx import create_ssl_context as make
    from httpx._transports import default

    public = make(trust_env=False)

    def create(verify: Any = True, cert: Any = None, trust_env: bool = True) -> Any:
        return public if (verify, cert, trust_env) == (True, None, False) else make(verify, cert, trust_env)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(default, "create_ssl_context", create)
        yield
