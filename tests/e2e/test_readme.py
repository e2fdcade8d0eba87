"""What the README tells a user to type is typed here."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from serving.launch import Server
from tests.zoo import ROOT

TEXT = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    found = re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)
    assert found
    return [block for block in found if "127.0.0.1" in block]


def here(block: str, server: Server) -> str:
    ports = server.options.ports
    return block.replace("127.0.0.1:8080", f"127.0.0.1:{ports.rest}").replace(
        "127.0.0.1:7070", f"127.0.0.1:{ports.grpc}"
    )


@pytest.mark.parametrize("block", blocks("sh"))
def test_the_shell_examples_answer(server: Server, block: str) -> None:
    for line in here(block, server).splitlines():
        done = subprocess.run(["sh", "-c", f"{line} --noproxy '*' -sS"], cwd=ROOT, capture_output=True, text=True)
        assert '"label"' in done.stdout, done.stderr


@pytest.mark.parametrize("block", blocks("python"))
def test_the_python_examples_answer(server: Server, block: str, stubs: Any) -> None:
    folder = Path(stubs[0].__file__).parent
    command = [sys.executable, "-c", here(block, server)]
    done = subprocess.run(command, cwd=ROOT, env={"PYTHONPATH": str(folder)}, capture_output=True, text=True)
    assert done.stdout.strip() in ("cat", "dog"), done.stderr


def test_what_it_links_to_is_there() -> None:
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", TEXT) + re.findall(r'src="([^"]+)"', TEXT):
        assert (ROOT / target).exists(), target
