"""What tests that start servers of their own share."""

import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from serving.cli import server_options
from serving.launch import Server, free_ports

PATH = "/predictions/catsdogs"


def start(archive: Path, **settings: Any) -> Server:
    """A server on ports of its own."""
    rest, grpc, metrics = free_ports(3)
    return Server(server_options(archive, port=rest, grpc_port=grpc, metrics_port=metrics, **settings))


def wait_for(condition: Callable[[], bool], seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.02)


def repack(archive: Path, out: Path, name: str, change: Callable[[bytes], bytes]) -> Path:
    """A copy of an archive with one file changed."""
    with zipfile.ZipFile(archive) as old, zipfile.ZipFile(out, "w") as new:
        for info in old.infolist():
            data = old.read(info)
            new.writestr(info, change(data) if info.filename == name else data)
    return out
