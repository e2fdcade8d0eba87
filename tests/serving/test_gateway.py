import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from serving.launch import GATEWAY, find_caddy

ENVIRONMENT = {
    "BIND": "127.0.0.1",
    "REST_PORT": "18080",
    "GRPC_PORT": "17070",
    "METRICS_PORT": "18082",
    "RUN": "/run/ts",
    "PAGE": "/srv/page",
    "GRPC_FRAMES": "/srv/grpc",
}


@pytest.fixture(scope="module")
def servers() -> dict[str, Any]:
    """What Caddy makes of the Caddyfile."""
    command = [str(find_caddy()), "adapt", "--config", str(GATEWAY / "Caddyfile"), "--adapter", "caddyfile"]
    done = subprocess.run(command, env={**os.environ, **ENVIRONMENT}, capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)["apps"]["http"]["servers"]
    return found


def test_the_limits_are_those_of_the_listeners(servers: dict[str, Any]) -> None:
    """Caddy ignores a `servers` block that does not name its listener to the letter, without a word."""
    assert {name: server["listen"] for name, server in servers.items()} == {
        "rest": ["127.0.0.1:18080"],
        "grpc": ["127.0.0.1:17070"],
        "metrics": ["127.0.0.1:18082"],
    }
    assert all(server["read_header_timeout"] and server["idle_timeout"] for server in servers.values())


def test_nothing_asks_for_a_certificate(servers: dict[str, Any]) -> None:
    assert all(server["automatic_https"] == {"disable": True} for server in servers.values())


def test_the_file_is_formatted_as_caddy_formats(tmp_path: Path) -> None:
    done = subprocess.run([str(find_caddy()), "fmt", str(GATEWAY / "Caddyfile")], capture_output=True, check=False)
    assert done.stdout == (GATEWAY / "Caddyfile").read_bytes()
