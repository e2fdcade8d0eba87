"""The set-up of a development environment: what the dev container runs gives a working checkout on plain Debian."""

import json
import os
import re
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from tests.documentation import run_by
from tests.zoo import ROOT

FOLDER = ROOT / ".devcontainer"
SETUP = FOLDER / "setup"
# How this machine reaches the package registries, and where packages are that were fetched before.
KEPT = ("PIP_", "UV_", "SSL_CERT", "REQUESTS_CA", "HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy")
needs_debian = pytest.mark.skipif(
    not Path("/etc/debian_version").exists(), reason="the script is for Debian and Ubuntu"
)


def config() -> dict[str, object]:
    text = re.sub(r"^\s*//.*$", "", (FOLDER / "devcontainer.json").read_text(), flags=re.MULTILINE)
    parsed: dict[str, object] = json.loads(text)
    return parsed


def test_the_container_forwards_our_ports_and_runs_the_script() -> None:
    assert config()["forwardPorts"] == [8080, 7070, 8082]
    assert config()["postCreateCommand"] == ".devcontainer/setup"
    assert os.access(SETUP, os.X_OK)


def test_the_script_says_how_it_is_used() -> None:
    done = subprocess.run([SETUP, "--everything"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (2, "usage: .devcontainer/setup [--all]\n")


def environment(home: Path) -> dict[str, str]:
    """Return the variables of a new user on a plain Debian: no Python but the system's, no settings of ours."""
    kept = {name: value for name, value in os.environ.items() if name.startswith(KEPT)}
    cache = os.environ.get("UV_CACHE_DIR", str(Path.home() / ".cache" / "uv"))
    return {**kept, "PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": str(home), "UV_CACHE_DIR": cache}


@needs_debian
def test_a_fresh_clone_is_set_up_serves_and_refuses_bad_commits(tmp_path: Path) -> None:
    clone, home = tmp_path / "catsdogs", tmp_path / "home"
    home.mkdir()
    subprocess.run(["git", "clone", "--quiet", "--shared", ROOT, clone], check=True)
    variables = environment(home)

    def run(*command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(command, cwd=clone, env=variables, capture_output=True, text=True)

    (block,) = run_by(__file__)
    done = run("bash", "-ec", block.text)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1].startswith("Ready: ")
    assert run(".venv/bin/catsdogs", "--version").returncode == 0
    assert run(".venv/bin/python", "-m", "pytest", "--version").returncode == 0
    (clone / "bad.yaml").write_text("labels: [cat\n")
    assert run("git", "add", "bad.yaml").returncode == 0
    refused = run("git", "-c", "user.name=A Test", "-c", "user.email=test@example.invalid", "commit", "-m", "test: bad")
    assert refused.returncode == 1
    assert "bad.yaml" in refused.stdout + refused.stderr
    began = time.monotonic()
    assert run(".devcontainer/setup").returncode == 0
    assert time.monotonic() - began < 30, "what is there already is kept"


STANDIN = """#!/bin/bash
echo "${0##*/} $*" >> "$LOG"
if [ "${0##*/} $1" = "apt-get install" ]; then ln -sf "$0" "${0%/*}/make"; fi
"""


@pytest.mark.parametrize("user", ["root", "somebody"])
def test_what_is_missing_is_installed_first(tmp_path: Path, user: str) -> None:
    """With stand-ins for apt-get, sudo and id, on a machine without make and Python."""
    tools, log = tmp_path / "tools", tmp_path / "log"
    tools.mkdir()
    for name in ("bash", "dirname", "env", "git", "ln"):
        (tools / name).symlink_to(str(shutil.which(name)))
    scripts = {
        "apt-get": STANDIN,
        "id": f"#!/bin/bash\necho {0 if user == 'root' else 1000}\n",
        "sudo": '#!/bin/bash\necho sudo >> "$LOG"\nexec "$@"\n',
    }
    for name, text in scripts.items():
        (tools / name).write_text(text)
        (tools / name).chmod(0o755)
    done = subprocess.run(
        [SETUP], env={"PATH": str(tools), "LOG": str(log)}, capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    lines = log.read_text().splitlines()
    assert lines.count("sudo") == (0 if user == "root" else 2)
    assert [line for line in lines if line != "sudo"] == [
        "apt-get update -qq",
        "apt-get install -y -qq --no-install-recommends ca-certificates make python3-venv",
        "make .venv/.dev hooks",
    ]
