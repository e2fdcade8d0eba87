"""Clients that send pictures to a server, one after the other."""

import contextlib
import itertools
import threading
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from serving.client.samples import SAMPLES
from tests.monitoring.prometheus import OPENER

PAUSE_S = 0.2
PATIENCE_S = 5
TYPICAL = tuple(path.read_bytes() for path in sorted(SAMPLES.rglob("*.jpg")))


@dataclass
class Load:
    """Clients that each send a picture, wait for its answer, pause, and go on until they are told to stop."""

    url: str
    bodies: Sequence[bytes] = TYPICAL
    """The requests to send, which may be replaced while the clients run."""
    turn: Iterator[int] = field(default_factory=itertools.count)
    ended: threading.Event = field(default_factory=threading.Event)

    def ask(self) -> None:
        while not self.ended.wait(PAUSE_S):
            bodies = self.bodies
            body = bodies[next(self.turn) % len(bodies)]
            request = urllib.request.Request(f"{self.url}predictions/catsdogs", body, method="POST")
            with contextlib.suppress(OSError), OPENER.open(request, timeout=PATIENCE_S) as response:
                response.read()

    @contextlib.contextmanager
    def sent(self, clients: int) -> Iterator[None]:
        threads = [threading.Thread(target=self.ask, daemon=True) for _ in range(clients)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self.ended.set()
            for thread in threads:
                thread.join(2 * PATIENCE_S)
