"""The demo of the int8 network: smaller, and with the answers of a server that computes int8."""

import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, Page

from handler.runtimes.onnx_files import INT8_TOLERANCE
from serving.demo.build import main as build
from tests import zoo
from tests.demo.support import SAMPLES, ask, opened, serving
from tests.e2e.support import PATH, command


@pytest.fixture(scope="module")
def page(
    browser: Browser, archive: Path, onnxruntime: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Page]:
    folder = tmp_path_factory.mktemp("int8") / "site"
    options = ["--archive", str(archive), "--precision", "int8", "--onnxruntime", str(onnxruntime)]
    assert build([str(folder), *options]) == 0
    assert json.loads((folder / "model.json").read_text())["files"]["network"]["bytes"] < 12e6
    with serving(folder, "/") as site, opened(browser, site) as page:
        yield page


def test_samples_have_the_labels_and_about_the_probabilities_of_an_int8_server(page: Page, archive: Path) -> None:
    with command(str(archive), "--precision", "int8", "--workers", "1") as (_, port, _):
        url = f"http://127.0.0.1:{port}{PATH}"
        for path in SAMPLES:
            ours = ask(page, "classify", path)
            theirs = httpx.post(url, content=path.read_bytes(), timeout=30, trust_env=False).json()
            assert ours["label"] == theirs["label"], path.name
            assert ours["probability"] == pytest.approx(theirs["probability"], abs=INT8_TOLERANCE), path.name
            assert ours["model"] == theirs["model"]


def test_the_map_adds_up_to_the_logit_but_for_rounding(page: Page) -> None:
    cat, dog = (ask(page, "explain", zoo.CAT, label) for label in ("cat", "dog"))
    assert cat["prediction"]["label"] == "cat"
    assert cat["logit"] > dog["logit"] + 1
