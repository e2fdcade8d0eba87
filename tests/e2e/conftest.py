"""A real server, started once for the tests that only ask it, and what a client needs."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, sync_playwright

from serving.server.launch import Server
from tests.e2e.support import make_stubs, start

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
# Its own requests to its maker go nowhere here and would only take time.
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]


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


# For a module, because playwright runs an event loop in this thread for as long as it is open.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A real Chromium."""
    if CHROMIUM is None:
        assert "CI" not in os.environ, "CI must install Chromium: what browsers do is tested nowhere else"
        pytest.skip("no Chromium on the PATH")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()
