"""A deployment on one machine by the real Docker Compose: `make e2e-hosting`. tests/hosting has all its outcomes.

The images are those of tests/cluster/images, which CATSDOGS_IMAGE names. They are on this machine: nothing is pulled.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from common.verdicts import Verdict
from tests.zoo import CAT, ROOT

IMAGE = os.environ.get("CATSDOGS_IMAGE", "catsdogs-serve:e2e")


@dataclass
class Machine:
    """A directory with compose.yaml, whose ports are this machine's 8080, 7070 and 8082."""

    directory: Path

    def deploy(self, image: str) -> "subprocess.CompletedProcess[str]":
        own = ["--directory", str(self.directory), "--no-pull", "--picture", str(CAT), "--label", "cat"]
        command = [sys.executable, "-m", "serving.hosting.compose_deploy", image, *own]
        return subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def compose(self, *arguments: str) -> str:
        done = subprocess.run(["docker", "compose", *arguments], cwd=self.directory, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def serving(self) -> str:
        """Return the id of the image whose container runs."""
        (name,) = self.compose("ps", "--quiet", "serve").split()
        return str(docker("inspect", name)[0]["Image"])


def docker(*arguments: str) -> list[dict[str, Any]]:
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    documents: list[dict[str, Any]] = json.loads(done.stdout)
    return documents


def identity(image: str) -> str:
    return str(docker("image", "inspect", image)[0]["Id"])


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    made = Machine(tmp_path_factory.mktemp("catsdogs-compose"))
    shutil.copy(ROOT / "compose.yaml", made.directory)
    yield made
    made.compose("down", "--timeout", "20")


def test_a_first_image_that_is_broken_leaves_no_container(machine: Machine) -> None:
    done = machine.deploy(f"{IMAGE}-broken")
    assert done.returncode == Verdict.BREACH.exit_code, done.stdout
    assert "The container ended by itself" in done.stdout
    assert machine.compose("ps", "--all", "--quiet", "serve") == ""


def test_a_good_image_serves(machine: Machine) -> None:
    done = machine.deploy(IMAGE)
    assert done.returncode == Verdict.PASS.exit_code, done.stdout
    assert machine.serving() == identity(IMAGE)


@pytest.mark.parametrize("kind", ["broken", "poor"])
def test_a_bad_image_is_taken_back(machine: Machine, kind: str) -> None:
    done = machine.deploy(f"{IMAGE}-{kind}")
    assert done.returncode == Verdict.BREACH.exit_code, done.stdout
    assert "serves again." in done.stdout
    assert machine.serving() == identity(IMAGE)


def test_a_later_up_starts_the_same_image_again(machine: Machine) -> None:
    assert machine.deploy(f"{IMAGE}-next").returncode == Verdict.PASS.exit_code
    machine.compose("down", "--timeout", "20")
    machine.compose("up", "--detach", "--no-build", "serve")
    assert machine.serving() == identity(f"{IMAGE}-next")
