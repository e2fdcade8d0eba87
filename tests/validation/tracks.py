"""A server without a model that knows the samples, as one track of a release: it names its model, and may fail."""

import threading
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from serving.client.samples import SAMPLES
from tests.serving.sample_server import Handler, Server

FILES = {path.read_bytes(): path.name for path in SAMPLES.rglob("*.jpg")}
SHA = "ab" * 32


@dataclass
class Track:
    """The behaviour of a server, which a test may change while it runs."""

    statuses: dict[str, list[int]] = field(default_factory=dict)
    """Statuses that a picture is answered with, one after the other; then 200."""
    always: int | None = None
    """Status of every answer."""
    models: list[Mapping[str, str]] = field(default_factory=list)
    """Models of the answers, one after the other; then the last."""
    probability: float = 0.9
    delay_s: float = 0.0
    url: str = ""
    marks: list[str | None] = field(default_factory=list)
    """The header that marks probes, of each request."""


def model(sha256: str = SHA, version: str = "1.0.0", **more: str) -> dict[str, str]:
    return {"name": "catsdogs", "version": version, "sha256": sha256, **more}


@contextmanager
def track(mistaken: Collection[str] = (), unready: int = 0, **behaviour: Any) -> Iterator[Track]:
    """Run a server, and yield its behaviour with its address.

    Args:
        mistaken: names of the pictures that it calls by the other class.
        unready: questions after which it is ready.
    """
    state = Track(**behaviour)

    class TrackHandler(Handler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            state.marks.append(self.headers.get("x-catsdogs-probe"))
            time.sleep(state.delay_s)
            waiting = state.statuses.get(FILES[body], [])
            status = state.always or (waiting.pop(0) if waiting else 200)
            if status != 200:
                self.answer(status, {"code": "internal", "detail": f"It is {status}."})
                return
            models = state.models or [model()]
            answer = self.server.predict(body)
            shares = {
                name: state.probability if name == answer["label"] else 1 - state.probability for name in ["cat", "dog"]
            }
            own = {"probability": state.probability, "probabilities": shares}
            self.answer(200, answer | own | {"model": models.pop(0) if len(models) > 1 else models[0]})

    with Server(mistaken, unready=unready) as http_server:
        http_server.RequestHandlerClass = TrackHandler
        state.url = f"http://127.0.0.1:{http_server.server_port}"
        thread = threading.Thread(target=http_server.serve_forever)
        thread.start()
        try:
            yield state
        finally:
            http_server.shutdown()
            thread.join()
