"""The image for GPU nodes, on a machine without one: `make e2e-gpu`. Its program is run here on a CPU."""

import os
import subprocess
import time
from pathlib import Path

import pytest

from tests.image.test_serve import CLOSED, WRITABLE, docker
from tests.zoo import CAT

pytestmark = pytest.mark.skipif(Path("/dev/nvidiactl").exists(), reason="shows what happens without a GPU")

IMAGE = os.environ.get("CATSDOGS_GPU_IMAGE", "catsdogs-serve:e2e-gpu")


def is_ready(name: str) -> bool:
    return subprocess.run(["docker", "exec", name, "catsdogs", "probe", "ready"], capture_output=True).returncode == 0


def start(*options: str) -> str:
    return docker("run", "--detach", "--network=none", *CLOSED, WRITABLE, *options, IMAGE).strip()


def test_without_a_gpu_it_is_never_ready_and_says_why() -> None:
    name = start()
    try:
        for _ in range(15):
            assert not is_ready(name)
            time.sleep(2)
        logs = subprocess.run(["docker", "logs", name], capture_output=True, text=True)
        assert "There is no GPU here, and CATSDOGS_DEVICE=cuda asks for one" in logs.stdout + logs.stderr
    finally:
        docker("rm", "--force", name)


def test_its_program_answers_on_a_cpu_where_that_is_asked_for() -> None:
    name = start("--env=CATSDOGS_DEVICE=cpu")
    try:
        deadline = time.monotonic() + 120
        while not is_ready(name):
            assert time.monotonic() < deadline, docker("logs", name)
            time.sleep(1)
        output = docker("exec", name, "catsdogs", "check", "--grpc=127.0.0.1:7070")
        assert "FAIL" not in output
        assert f"{CAT.name} is a cat by REST" in output
    finally:
        docker("rm", "--force", name)
