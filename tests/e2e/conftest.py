"""A real server, started once for the tests that only ask it, and what a client needs."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from serving.server.launch import Server
from tests.browser import browser
from tests.e2e.support import make_stubs, start

__all__ = ["browser"]


@pytest.fixture(scope="session")
def server(archive: Path) -> Iterator[Server]:
    with start(archive) as running:
        yield running


@pytest.fixture
def client(server: Server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.options.url, timeout=30, trust_env=False) as made:
        yield made


@pytest.fixture(scope="session")
def stubs(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with make_stubs(tmp_path_factory.mktemp("stubs")) as made:
        yield made
