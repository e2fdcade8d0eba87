"""The demo's folder, made by make's own steps, behind a web server of Python's and in a real Chromium."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from serving.demo.build import main as build
from tests.browser import browser
from tests.demo.support import Site, opened, serving
from tests.zoo import ROOT

__all__ = ["browser"]


@pytest.fixture(scope="session")
def onnxruntime() -> Path:
    """The npm package of the lock, fetched once by make."""
    if shutil.which("npm") is None:
        assert "CI" not in os.environ, "CI must install npm: the demo is tested nowhere else"
        pytest.skip("no npm on the PATH")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    command = ["make", "build/onnxruntime-web/.installed"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return ROOT / "build" / "onnxruntime-web" / "node_modules" / "onnxruntime-web"


@pytest.fixture(scope="session")
def folder(archive: Path, onnxruntime: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("site") / "under" / "a-prefix"
    assert build([str(out), "--archive", str(archive), "--onnxruntime", str(onnxruntime)]) == 0
    return out


@pytest.fixture(scope="session")
def site(folder: Path) -> Iterator[Site]:
    """The demo under a path prefix, as GitHub Pages has it."""
    with serving(folder.parents[1], "/under/a-prefix/") as site:
        yield site


@pytest.fixture
def page(browser: Browser, site: Site) -> Iterator[Page]:
    """The open demo."""
    with opened(browser, site) as page:
        yield page


@pytest.fixture(scope="module")
def modules(browser: Browser, site: Site) -> Iterator[Page]:
    """The open demo for tests that only call its modules."""
    with opened(browser, site) as page:
        yield page
