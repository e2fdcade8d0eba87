"""Switches off what the gateway counts: a copy of this file is sitecustomize.py on the PYTHONPATH of `catsdogs serve`.

Python imports it before the launcher and the relay. Workers have a PYTHONPATH of their own.
"""

from typing import Any

from serving.gateway.caddy import GATEWAY, Gateway, find_caddy
from serving.telemetry.requests import Requests

METRICS = "\n\tmetrics\n"


def count(requests: Requests, *counted: Any) -> None:
    """Count nothing."""


def command(gateway: Gateway) -> list[str]:
    """Return Caddy's command with a Caddyfile that asks for no metrics."""
    text = (GATEWAY / "Caddyfile").read_text()
    assert METRICS in text
    changed = gateway.run / "Caddyfile"
    changed.write_text(text.replace(METRICS, "\n"))
    return [str(find_caddy()), "run", "--config", str(changed), "--adapter", "caddyfile"]


setattr(Requests, "count", count)  # noqa: B010
setattr(Gateway, "command", command)  # noqa: B010
