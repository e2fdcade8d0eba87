"""The Space of Hugging Face that runs the server: built and run as there, as user 1000. `make e2e-hosting`"""

import json
import os
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from serving.hosting.spaces import main as make_space
from tests.zoo import CAT

IMAGE = os.environ.get("CATSDOGS_IMAGE", "catsdogs-serve:e2e")
URL = "http://127.0.0.1:7860"


def docker(*arguments: str) -> str:
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture(scope="module")
def container(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A running Space: no arguments of a build, no options of a container but its user and its port."""
    folder = tmp_path_factory.mktemp("space")
    assert make_space(["server", str(folder / "space"), "--image", IMAGE]) == 0
    docker("build", "--quiet", "--tag", f"{IMAGE}-space", str(folder / "space"))
    name = docker("run", "--detach", "--user=1000", "--publish=127.0.0.1:7860:7860", f"{IMAGE}-space")
    yield name
    docker("rm", "--force", name)


def ask(path: str, body: bytes | None = None) -> bytes | None:
    """Return an answer, or None while there is none."""
    try:
        with urllib.request.urlopen(urllib.request.Request(f"{URL}{path}", body), timeout=10) as response:
            return bytes(response.read())
    except (urllib.error.URLError, OSError):
        return None


def test_it_serves_at_port_7860_as_user_1000(container: str) -> None:
    deadline = time.monotonic() + 60
    while ask("/health") is None:
        assert time.monotonic() < deadline, docker("logs", container)
        time.sleep(0.2)
    answer = ask("/predict", CAT.read_bytes())
    assert answer is not None
    assert json.loads(answer)["label"] == "cat"
    uids = docker("exec", container, "python", "-c", UIDS)
    assert json.loads(uids) == [1000]


# Users of all processes that are not this script.
UIDS = """
import json, os, pathlib
print(json.dumps(sorted({path.stat().st_uid for path in pathlib.Path("/proc").glob("[0-9]*")})))
"""


def test_the_folder_of_the_space_has_nothing_else(tmp_path: Path) -> None:
    make_space(["server", str(tmp_path / "space"), "--image", IMAGE])
    assert sorted(path.name for path in (tmp_path / "space").iterdir()) == ["Dockerfile", "README.md"]
