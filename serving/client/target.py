"""The server that a check asks."""

from dataclasses import dataclass
from ssl import SSLContext
from typing import Any

import httpx

from handler.counts import PROBE


@dataclass(frozen=True, slots=True)
class Target:
    """The addresses of a server, and how it is verified. A protocol without an address is not asked."""

    url: str
    grpc: str | None = None
    """host:port"""
    metrics: str | None = None
    key: str | None = None
    trust: SSLContext | None = None
    """The certificates that verify an https server; None takes those that the package certifi lists."""
    server_name: str | None = None
    """Name that its certificate must carry, where that is not the host of the URL."""

    @property
    def scheme(self) -> str:
        """The scheme of both REST and gRPC, which share one certificate."""
        return "https" if self.url.startswith("https:") else "http"

    def client(self, **settings: Any) -> httpx.Client:
        def name(request: httpx.Request) -> None:
            request.extensions = {**request.extensions, "sni_hostname": self.server_name}

        # Known pictures are no users': see monitoring/metrics.yaml.
        headers = {PROBE: "1", **({"Authorization": f"Bearer {self.key}"} if self.key else {})}
        hooks = {"request": [name]} if self.server_name else {}
        return httpx.Client(
            headers=headers, timeout=30, trust_env=False, verify=self.trust or True, event_hooks=hooks, **settings
        )
