"""A real server, started once for the tests that only ask it, and what a client needs."""

import importlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from serving.launch import Server
from tests.e2e.support import start
from tests.zoo import ROOT


@pytest.fixture(scope="session")
def server(archive: Path) -> Iterator[Server]:
    with start(archive) as running:
        yield running


@pytest.fixture
def client(server: Server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.options.url, timeout=30, trust_env=False) as made:
        yield made


@pytest.fixture(scope="session")
def stubs(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The modules (messages, services) that a user makes from serving/proto."""
    out = tmp_path_factory.mktemp("stubs")
    command = ["-m", "grpc_tools.protoc", "-I", str(ROOT / "serving" / "proto")]
    subprocess.run(
        [sys.executable, *command, f"--python_out={out}", f"--grpc_python_out={out}", "inference.proto"], check=True
    )
    sys.path.insert(0, str(out))
    try:
        yield importlib.import_module("inference_pb2"), importlib.import_module("inference_pb2_grpc")
    finally:
        sys.path.remove(str(out))
