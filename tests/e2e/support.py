"""Helpers of the tests that start servers of their own."""

import importlib
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from common.ports import free_ports
from serving.gateway.caddy import find_caddy
from serving.server.launch import Server
from serving.server.options import server_options
from tests.archives import read_members, write_archive
from tests.zoo import ROOT

PATH = "/predictions/catsdogs"


def start(archive: Path, **settings: Any) -> Server:
    """A server on ports of its own."""
    rest, grpc, metrics = free_ports(3, settings.get("host", "127.0.0.1"))
    return Server(server_options(archive, port=rest, grpc_port=grpc, metrics_port=metrics, **settings))


@contextmanager
def command(*arguments: str) -> Iterator[tuple["subprocess.Popen[str]", int, int]]:
    """`catsdogs serve` as a user runs it, once it says that it is ready; yields it and its REST and gRPC ports."""
    rest, grpc_port, metrics = free_ports(3)
    ports = ["--port", str(rest), "--grpc-port", str(grpc_port), "--metrics-port", str(metrics)]
    child = subprocess.Popen(
        [sys.executable, "-m", "catsdogs", "serve", *ports, *arguments], cwd=ROOT, stderr=subprocess.PIPE, text=True
    )
    assert child.stderr is not None
    try:
        for line in child.stderr:
            if line.startswith("Ready after"):
                break
        else:
            pytest.fail(f"the server did not start: status {child.wait()}")
        yield child, rest, grpc_port
    finally:
        child.kill()
        child.communicate()


@contextmanager
def make_stubs(out: Path, proto: str = "inference") -> Iterator[tuple[Any, Any]]:
    """The modules (messages, services) that a user makes from a file of serving/proto."""
    compiler = ["-m", "grpc_tools.protoc", "-I", str(ROOT / "serving" / "proto")]
    subprocess.run(
        [sys.executable, *compiler, f"--python_out={out}", f"--grpc_python_out={out}", f"{proto}.proto"], check=True
    )
    sys.path.insert(0, str(out))
    try:
        yield importlib.import_module(f"{proto}_pb2"), importlib.import_module(f"{proto}_pb2_grpc")
    finally:
        sys.path.remove(str(out))


def in_flight(server: Server, part: str = "rest") -> int:
    """Requests that the gateway has and has not answered; of its part `rest` or `grpc`."""
    url = f"http://127.0.0.1:{server.options.ports.metrics}/metrics"
    matches = re.findall(
        rf'caddy_http_requests_in_flight{{.*server="{part}".*}} (\d+)', httpx.get(url, trust_env=False).text
    )
    return max(map(int, matches), default=0)


def wait_for(condition: Callable[[], bool], seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.02)


def wait_for_all_workers(server: Server) -> None:
    """A server is ready with its first worker; the others may take seconds more on a busy machine."""
    url = f"{server.options.url}/readyz"
    wanted = {"ready": True, "workers": server.options.workers}
    wait_for(lambda: bool(httpx.get(url, trust_env=False).json() == wanted), 60, f"{server.options.workers} workers")


def repack(archive: Path, out: Path, name: str, change: Callable[[bytes], bytes]) -> Path:
    """A copy of an archive with one member changed, and its list of members made anew."""
    members = read_members(archive)
    return write_archive(out, members | {name: change(members[name])})


@contextmanager
def behind_prefix(port: int, folder: Path, prefix: str = "/pets/of/mine") -> Iterator[str]:
    """A Caddy that takes a prefix away before it passes requests on to a port of this machine; yields its URL."""
    (own,) = free_ports(1)
    config = folder / "Caddyfile"
    config.write_text(
        "{\n\tadmin off\n\tauto_https off\n\tpersist_config off\n}\n"
        f"http://127.0.0.1:{own} {{\n\thandle_path {prefix}/* {{\n\t\treverse_proxy 127.0.0.1:{port}\n\t}}\n}}\n"
    )
    url = f"http://127.0.0.1:{own}{prefix}/"
    command = [str(find_caddy()), "run", "--config", str(config), "--adapter", "caddyfile"]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as child:
        try:
            wait_for(lambda: _answers(f"{url}livez"), 20, "the proxy answers")
            yield url
        finally:
            child.terminate()


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, trust_env=False).status_code == 200
    except httpx.ConnectError:
        return False
