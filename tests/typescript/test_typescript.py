"""Types that openapi-typescript makes of openapi.json, and a client that is compiled with them, at the real server.

By `make test-openapi-typescript`: it takes packages from npm's registry, those of package-lock.json.
"""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from serving.server.launch import Server
from tests import zoo
from tests.documentation import run_by
from tests.e2e.support import start
from tests.zoo import ROOT

HERE = Path(__file__).parent
FILES = ("client.ts", "package.json", "package-lock.json", "tsconfig.json")


@pytest.fixture(scope="module")
def server(archive: Path) -> Iterator[Server]:
    with start(archive, workers=1) as running:
        yield running


def documented(server: Server) -> list[str]:
    """Return the documentation's commands, for this server."""
    (block,) = run_by(__file__)
    return [line.replace("http://127.0.0.1:8080", server.options.url) for line in block.commands]


def run(folder: Path, command: str) -> str:
    # npx takes what is installed and asks nobody.
    environment = {**os.environ, "npm_config_offline": "true", "no_proxy": "127.0.0.1"}
    done = subprocess.run(["sh", "-ec", command], cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def compiled(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a client that the compiler has accepted, without a type left out, by the documented commands."""
    folder = tmp_path_factory.mktemp("typescript")
    for name in FILES:
        shutil.copy(HERE / name, folder)
    shutil.copy(zoo.CAT, folder / "photo.jpg")
    install = ["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"]
    done = subprocess.run(install, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    for command in documented(server)[:-1]:
        run(folder, command)
    return folder


def test_a_compiled_client_classifies_a_picture_and_tells_a_refusal_by_its_code(server: Server, compiled: Path) -> None:
    said = json.loads(run(compiled, documented(server)[-1]))
    assert (said["label"], said["code"], said["ready"]) == ("cat", "unsupported_image", True)
    assert said["outputs"][0] == "cat"


def test_the_documented_versions_are_those_that_are_tested() -> None:
    page = (ROOT / "docs" / "how-to" / "call-the-server.md").read_text()
    (packages,) = re.findall("^npm install (.*)$", page, re.MULTILINE)
    locked = json.loads((HERE / "package.json").read_text())["devDependencies"]
    for package in packages.split():
        name, _, version = package.rpartition("@")
        assert locked[name] == version or locked[name].startswith(f"{version}."), package


def test_a_client_that_reads_what_is_not_answered_is_not_compiled(compiled: Path) -> None:
    text = (compiled / "client.ts").read_text()
    (compiled / "client.ts").write_text(text.replace("answer?.label", "answer?.lable"))
    done = subprocess.run(
        ["npx", "--no-install", "tsc", "--project", "."], cwd=compiled, capture_output=True, text=True
    )
    assert done.returncode != 0
    assert "Property 'lable' does not exist" in done.stdout
