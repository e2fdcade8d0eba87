"""Types that openapi-typescript makes of openapi.json, and a client that is compiled with them, at the real server.

By `make test-openapi-typescript`: it takes packages from npm's registry, those of package-lock.json.
"""

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from serving.server.launch import Server
from tests import zoo
from tests.e2e.support import start

HERE = Path(__file__).parent
FILES = ("client.ts", "package.json", "package-lock.json", "tsconfig.json")


@pytest.fixture(scope="module")
def server(archive: Path) -> Iterator[Server]:
    with start(archive, workers=1) as running:
        yield running


def run(folder: Path, *command: str) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def compiled(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a client that the compiler has accepted, without a type left out."""
    folder = tmp_path_factory.mktemp("typescript")
    for name in FILES:
        shutil.copy(HERE / name, folder)
    document = httpx.get(f"{server.options.url}/openapi.json", trust_env=False)
    (folder / "openapi.json").write_bytes(document.content)
    run(folder, "npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts")
    run(folder, "npx", "--no-install", "openapi-typescript", "openapi.json", "--output", "api.d.ts")
    run(folder, "npx", "--no-install", "tsc", "--project", ".")
    return folder


def test_a_compiled_client_classifies_a_picture_and_tells_a_refusal_by_its_code(server: Server, compiled: Path) -> None:
    said = json.loads(run(compiled, "node", "client.js", server.options.url, str(zoo.CAT)))
    assert (said["label"], said["code"], said["ready"]) == ("cat", "unsupported_image", True)
    assert said["outputs"][0] == "cat"


def test_a_client_that_reads_what_is_not_answered_is_not_compiled(compiled: Path) -> None:
    text = (compiled / "client.ts").read_text()
    (compiled / "client.ts").write_text(text.replace("answer?.label", "answer?.lable"))
    done = subprocess.run(
        ["npx", "--no-install", "tsc", "--project", "."], cwd=compiled, capture_output=True, text=True
    )
    assert done.returncode != 0
    assert "Property 'lable' does not exist" in done.stdout
