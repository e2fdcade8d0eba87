"""The examples of the README and of docs/ answer when they are typed as they stand."""

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Route

from serving.server.launch import Server
from tests.documentation import run_by
from tests.zoo import ROOT

Javascript = Callable[[str], str]
LANGUAGES = {"sh", "python", "js"}


def blocks(language: str) -> list[str]:
    """Return each example in a language that names this test, once."""
    examples = run_by(__file__)
    assert {block.language for block in examples} == LANGUAGES
    return list(dict.fromkeys(block.text for block in examples if block.language == language))


# What an answer has, by path; others are predictions.
KEYS = {"/stats": "since", "/drift": "verdict"}


def here(block: str, server: Server) -> str:
    ports = server.options.ports
    for default, port in ((8080, ports.rest), (7070, ports.grpc), (8082, ports.metrics)):
        block = block.replace(f"127.0.0.1:{default}", f"127.0.0.1:{port}")
    return block


@pytest.mark.parametrize("block", blocks("sh"))
def test_the_shell_examples_answer(server: Server, block: str) -> None:
    for line in here(block, server).splitlines():
        done = subprocess.run(["sh", "-c", f"{line} --noproxy '*' -sS"], cwd=ROOT, capture_output=True, text=True)
        key = next((key for path, key in KEYS.items() if path in line), "label")
        assert f'"{key}"' in done.stdout, done.stderr


@pytest.mark.parametrize("block", blocks("python"))
def test_the_python_examples_answer(server: Server, block: str, stubs: Any) -> None:
    folder = Path(stubs[0].__file__).parent
    command = [sys.executable, "-c", here(block, server)]
    done = subprocess.run(command, cwd=ROOT, env={"PYTHONPATH": str(folder)}, capture_output=True, text=True)
    assert done.stdout.strip() in ("cat", "dog"), done.stderr


def by_node(script: str) -> str:
    command = ["node", "--input-type=module", "--eval", script]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60).stdout


def is_node_new_enough() -> bool:
    if shutil.which("node") is None:
        return False
    version = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout
    return int(version.removeprefix("v").split(".")[0]) >= 18


# A browser has no files of its own: what the example imports from Node asks the page's server for them.
HARNESS = """<!doctype html><link rel="icon" href="data:">
<script type="importmap">{"imports": {"node:fs/promises": "/readme/files.js"}}</script>
<script type="module" src="/readme/example.js"></script>"""
FILES = "export const readFile = async (path) => (await fetch(`/readme/${path}`)).arrayBuffer();"


def by_browser(browser: Browser, server: Server, script: str) -> str:
    scripts = {"files.js": FILES, "example.js": script}

    def serve(route: Route) -> None:
        name = route.request.url.partition("/readme/")[2]
        if name in scripts:
            route.fulfill(content_type="text/javascript", body=scripts[name])
        elif name:
            route.fulfill(path=ROOT / name)
        else:
            route.fulfill(content_type="text/html", body=HARNESS)

    with browser.new_context() as context:
        page = context.new_page()
        page.route("**/readme/**", serve)
        # Chromium itself reports each answer of 4xx as an error.
        with page.expect_console_message(lambda message: message.type == "log", timeout=60_000) as console:
            page.goto(f"{server.options.url}/readme/")
        return console.value.text


@pytest.fixture(params=["node", "chromium"])
def javascript(request: pytest.FixtureRequest, server: Server) -> Javascript:
    """Runs a module and gives what it says."""
    if request.param == "chromium":
        return partial(by_browser, request.getfixturevalue("browser"), server)
    if not is_node_new_enough():
        pytest.skip("no Node 18 on the PATH")
    return by_node


@pytest.mark.parametrize("block", blocks("js"))
def test_the_javascript_examples_answer(server: Server, javascript: Javascript, block: str) -> None:
    assert re.fullmatch(r"(cat|dog): 0\.\d+", javascript(here(block, server)).strip())
    refused = block.replace("serving/samples/dog/13.jpg", "README.md")
    assert refused != block
    assert javascript(here(refused, server)).startswith("unsupported_image: ")
