"""The server as a Space of Hugging Face starts it, by the command of its Dockerfile.

tests/image/test_space.py runs the image, as user 1000.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from common.ports import free_ports
from tests.e2e.support import wait_for
from tests.zoo import CAT, ROOT

DOCKERFILE = (ROOT / "serving" / "hosting" / "space" / "Dockerfile").read_text()
URL = "http://127.0.0.1:7860"


@pytest.fixture(scope="module")
def space(archive: Path) -> Iterator[None]:
    (text,) = re.findall(r"^CMD (.*)$", DOCKERFILE, re.MULTILINE)
    command = [str(archive) if word == "/models/catsdogs.mar" else word for word in json.loads(text)]
    # Another test's server may have the ports that nobody asks in a Space.
    grpc, metrics = free_ports(2)
    command += ["--grpc-port", str(grpc), "--metrics-port", str(metrics), "--workers", "1"]
    folder = tempfile.mkdtemp(prefix="space-", dir="/tmp")
    environment = {"PATH": os.environ["PATH"], "TMPDIR": folder, "HOME": folder, "PYTHONDONTWRITEBYTECODE": "1"}
    log = Path(folder) / "log"
    with log.open("wb") as output:
        child = subprocess.Popen(
            [sys.executable, "-P", "-m", "catsdogs", *command],
            cwd="/",
            env=environment,
            stdout=output,
            stderr=output,
        )

    def ready() -> bool:
        assert child.poll() is None, log.read_text()
        try:
            return httpx.get(f"{URL}/health", trust_env=False).status_code == 200
        except httpx.TransportError:
            return False

    try:
        wait_for(ready, 60, "the Space is ready")
        yield
    finally:
        child.terminate()
        child.wait(30)
        shutil.rmtree(folder)


@pytest.mark.usefixtures("space")
def test_it_answers_at_port_7860_by_the_spaces_name() -> None:
    # As Hugging Face's proxy asks, by the Space's name.
    headers = {"Host": "owner-name.hf.space"}
    response = httpx.post(f"{URL}/predict", content=CAT.read_bytes(), headers=headers, trust_env=False, timeout=30)
    assert response.json()["label"] == "cat"
    assert httpx.get(f"{URL}/", headers=headers, trust_env=False).status_code == 200
