"""Wait until a running server answers with a version's weights."""

import json
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from handler.files import UserError

PAUSE_S = 0.2
SAMPLES = Path(__file__).parents[2] / "serving" / "samples"


@dataclass(frozen=True, slots=True)
class Served:
    """The first answer by the wanted weights, or the last one where none came in time."""

    seconds: float
    model: dict[str, Any]
    """The member `model` of the answer; empty where there was no answer."""
    right: bool


def wait_until_served(url: str, name: str, weights_sha256: str, timeout_s: float, since: float) -> Served:
    """Ask a server about a sample picture until it answers with these weights.

    Args:
        since: time.monotonic() from which the seconds count, such as the start of the command.

    Raises:
        UserError: the address is not of a web server.
    """
    if not url.startswith(("http://", "https://")):
        raise UserError(f"{url} is not the URL of a server: it must begin with http:// or https://.")
    picture = next(iter(sorted(SAMPLES.rglob("*.jpg")))).read_bytes()
    model: dict[str, Any] = {}
    while True:
        model = ask(f"{url.rstrip('/')}/predictions/{name}", picture) or model
        seconds = time.monotonic() - since
        if model.get("sha256") == weights_sha256:
            return Served(seconds, model, seconds <= timeout_s)
        if seconds > timeout_s:
            return Served(seconds, model, False)
        time.sleep(PAUSE_S)


def ask(address: str, picture: bytes) -> dict[str, Any] | None:
    """Return the member `model` of an answer, or None where there is none."""
    request = urllib.request.Request(address, data=picture, headers={"Content-Type": "image/jpeg"})  # noqa: S310
    try:
        with urllib.request.urlopen(request, timeout=5) as response:  # noqa: S310
            answer = json.load(response)
    except (OSError, ValueError):
        return None
    model = answer.get("model") if isinstance(answer, dict) else None
    return model if isinstance(model, dict) else None
