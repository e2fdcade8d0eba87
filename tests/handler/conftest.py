from pathlib import Path

import pytest

from handler.catsdogs_handler import CatsDogsHandler
from tests.handler.test_catsdogs_handler import Context


@pytest.fixture(scope="session")
def ready(unpacked: Path) -> CatsDogsHandler:
    made = CatsDogsHandler()
    made.initialize(Context(unpacked, []))
    return made
