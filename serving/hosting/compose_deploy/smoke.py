"""The smoke test: the server is ready, and classifies a picture."""

import base64
import http.client
import json
import os
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import Any

from .machine import Image, Machine

# One black pixel, the smallest picture that is answered.
PIXEL = base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR42mNgAAAAAgAB5Sfe/AAAAABJRU5ErkJggg==")
POLL_S, ANSWER_S = 0.5, 10.0


class Wrong(Exception):
    """A wrong prediction."""


@dataclass(frozen=True)
class Question:
    """The picture that is sent, the label that it must get, and how long the server may take to get ready."""

    url: str
    picture: bytes
    label: str | None
    timeout_s: float

    def problem(self) -> str | None:
        """Ask once, and return what is wrong, or None.

        Raises:
            Wrong: the server answers, and wrongly: to wait would not help.
        """
        key = os.environ.get("CATSDOGS_KEY")
        headers = {"Content-Type": "application/octet-stream", **({"Authorization": f"Bearer {key}"} if key else {})}
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            # By the names that servers of all versions know.
            opener.open(f"{self.url}/readyz", timeout=ANSWER_S).close()
            request = urllib.request.Request(f"{self.url}/predictions", self.picture, headers)  # noqa: S310
            with opener.open(request, timeout=ANSWER_S) as response:
                answer = json.load(response)
            label, probability = answer["label"], answer["probabilities"][answer["label"]]
        except urllib.error.HTTPError as error:
            with error:
                return f"{error.url} answers {error.code}."
        except (OSError, http.client.HTTPException, ValueError, LookupError, TypeError) as error:
            return f"{self.url} does not answer as this server does: {error!r}."
        if self.label is not None and label != self.label:
            raise Wrong(f"The picture is called {label} ({probability}), and not {self.label}.")
        return None


def smoke(machine: Machine, image: Image, question: Question) -> str | None:
    """Return why an image that was started does not serve, or None as soon as it does."""
    deadline = time.monotonic() + question.timeout_s
    container = machine.container()
    restarts = restarts_of(container)
    while (fault := fault_of(container, image, restarts)) is None:
        try:
            problem = question.problem()
        except Wrong as error:
            return str(error)
        if problem is None:
            # Another server at the same address would have answered just as well.
            return fault_of(machine.container(), image, restarts)
        if time.monotonic() > deadline:
            return f"It did not serve within {question.timeout_s:.0f} s. {problem}"
        time.sleep(POLL_S)
        container = machine.container()
    return fault


def fault_of(container: dict[str, Any] | None, image: Image, restarts: int) -> str | None:
    """Return what is wrong with a container that should run an image, or None."""
    if container is None or container["Image"] != image.id:
        return "The service's container does not run this image."
    state = container["State"]
    if state["Status"] not in ("created", "running") or restarts_of(container) > restarts:
        return f"The container ended by itself, with exit status {state.get('ExitCode')}."
    return None


def restarts_of(container: dict[str, Any] | None) -> int:
    return int((container or {}).get("RestartCount", 0))
