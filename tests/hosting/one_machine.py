"""A machine with stand-ins for docker and a registry, on which compose_deploy runs as it does on a real one."""

import contextlib
import hashlib
import json
import os
import signal
import subprocess
import sys
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.zoo import CAT, ROOT

DOCKER = Path(__file__).with_name("standin_docker.py")
SERVER = Path(__file__).with_name("standin_server.py")
REPOSITORY = "ghcr.io/example/catsdogs-serve"


def sha256(text: str) -> str:
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


@dataclass
class OneMachine:
    """A directory with compose.yaml and what the deployment needs."""

    folder: Path
    port: int

    def __post_init__(self) -> None:
        self.directory, self.docker = self.folder / "srv", self.folder / "docker"
        for made in (self.directory, self.docker, self.folder / "bin"):
            made.mkdir(parents=True)
        (self.directory / "compose.yaml").write_bytes((ROOT / "compose.yaml").read_bytes())
        program = self.folder / "bin" / "docker"
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{DOCKER}" "$@"\n')
        program.chmod(0o755)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def environment(self) -> dict[str, str]:
        path = f"{self.folder / 'bin'}:{os.environ['PATH']}"
        return {**os.environ, "PATH": path, "STANDIN_DOCKER": str(self.docker), "PYTHONPATH": str(ROOT)}

    def publish(self, tag: str, command: list[str], pull_s: float = 0) -> str:
        """Put an image into the registry and return its reference."""
        reference = f"{REPOSITORY}:{tag}"
        image = {
            "id": sha256(f"id {tag}"),
            "digest": f"{REPOSITORY}@{sha256(tag)}",
            "command": command,
            "pull_s": pull_s,
        }
        self.add("registry", reference, image)
        return reference

    def build(self, tag: str, command: list[str]) -> str:
        """Put an image on the machine that comes from no registry."""
        reference = f"catsdogs-serve:{tag}"
        self.add("images", reference, {"id": sha256(f"id {tag}"), "digest": "", "command": command})
        return reference

    def add(self, name: str, reference: str, image: dict[str, Any]) -> None:
        path = self.docker / f"{name}.json"
        document = json.loads(path.read_text()) if path.exists() else {}
        path.write_text(json.dumps({**document, reference: image}))

    def server(self, label: str) -> list[str]:
        """The command of the stand-in for the server."""
        return [sys.executable, str(SERVER), str(self.port), label]

    def command(self, reference: str, *options: str) -> list[str]:
        own = ["--directory", str(self.directory), "--url", self.url, *options]
        return [sys.executable, "-m", "serving.hosting.compose_deploy", reference, *own]

    def deploy(self, reference: str, *options: str) -> "subprocess.CompletedProcess[str]":
        command = self.command(reference, *options)
        return subprocess.run(
            command, cwd=ROOT, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    def start_deploy(self, reference: str, *options: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            self.command(reference, *options),
            cwd=ROOT,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def state(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads((self.directory / "deployed.json").read_text())
        return document

    def verdicts(self) -> list[str]:
        return [entry["verdict"] for entry in self.state()["history"]]

    def container(self) -> dict[str, Any]:
        path = self.docker / "container.json"
        return json.loads(path.read_text()) if path.exists() else {}

    def label(self) -> str:
        """Return what the server calls a picture now."""
        request = urllib.request.Request(f"{self.url}/predictions", CAT.read_bytes())
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=10) as response:
            return str(json.load(response)["label"])

    def close(self) -> None:
        """End the container, which outlives the deployment."""
        if container := self.container():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(container["pid"], signal.SIGKILL)
