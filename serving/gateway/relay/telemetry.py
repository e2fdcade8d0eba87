"""RUN/telemetry.sock: one scrape of everything, /stats and /drift. RUN/refused.sock takes what Caddy refused itself."""

import asyncio
import json
import math
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Generic, TypeVar

import aiohttp
from aiohttp import web
from prometheus_client.parser import text_string_to_metric_families

from handler.counts import EXPLANATION, traffic_of
from serving.gateway.relay.drift import Drift
from serving.gateway.relay.model import Model
from serving.telemetry.exposition import TEXT, encode
from serving.telemetry.feedback import FeedbackCounts
from serving.telemetry.images import ImageCounts
from serving.telemetry.requests import PROTOCOLS, Requests, request_families, state_families

T = TypeVar("T")

# For so long a summary is good: strangers may ask for it as often as they like.
SHARED_S = 1.0
BACKLOG = 1024
PATIENCE = aiohttp.ClientTimeout(total=4, sock_connect=1)
HELD = re.compile(rb"^catsdogs_worker_requests (\S+)$", re.MULTILINE)
# Where the port of REST asks for the metrics, which strangers may do.
PUBLIC_METRICS = "/public-metrics"
# Caddy's name for a request to /feedback, beside the protocols of predictions.
FEEDBACK = "feedback"
# The same for image operations.
IMAGES = "images"
# A line of Caddy's has some 200 bytes.
MAX_LINE = 1 << 16


class Shared(Generic[T]):
    """A document that is made at most once a second, however many ask for it."""

    def __init__(self, make: Callable[[], Awaitable[T]]) -> None:
        self.make = make
        self.made: tuple[float, T] | None = None
        self.making = asyncio.Lock()

    async def get(self) -> T:
        async with self.making:
            if self.made is None or time.monotonic() - self.made[0] > SHARED_S:
                self.made = time.monotonic(), await self.make()
            return self.made[1]


class Telemetry:
    """Answers what is asked on the metrics port.

    Args:
        feedback: None where the server takes none.
        images: None where it has no image operations.
    """

    def __init__(
        self,
        run: Path,
        requests: Requests,
        model: Model,
        in_flight: Callable[[], tuple[int, int]],
        feedback: FeedbackCounts | None = None,
        images: ImageCounts | None = None,
    ) -> None:
        self.feedback = feedback
        self.images = images
        self.requests = requests
        self.model = model
        self.in_flight = in_flight
        self.probe = aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(run / "probe.sock")), timeout=PATIENCE)
        self.caddy = aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(run / "caddy.sock")), timeout=PATIENCE)
        self.drift = Drift(lambda: fetch(self.probe))
        self.documents = {"/stats": Shared(self.stats), "/drift": Shared(self.drift.answer)}
        self.public_metrics = Shared(self.metrics)

    async def close(self) -> None:
        await self.probe.close()
        await self.caddy.close()

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        if shared := self.documents.get(request.path):
            return web.json_response(await shared.get(), headers={"Cache-Control": "no-store"})
        metrics = await (self.public_metrics.get() if request.path == PUBLIC_METRICS else self.metrics())
        return web.Response(body=metrics, headers={"Content-Type": TEXT})

    async def metrics(self) -> bytes:
        """Return all metrics: the gateway's, the workers' as far as they can be had, and Caddy's."""
        workers, caddy = await asyncio.gather(fetch(self.probe), fetch(self.caddy))
        held = HELD.search(workers or b"")
        own = [
            *request_families(self.requests),
            *state_families(
                *self.in_flight(),
                int(float(held[1])) if held else None,
                str(self.model.facts().get("server", "")),
                workers is not None,
            ),
        ]
        if self.feedback is not None:
            own += self.feedback.families(self.model.facts().get("classes", ()))
        if self.images is not None:
            own += self.images.families()
        return encode(own) + (workers or b"") + (caddy or b"")

    async def stats(self) -> dict[str, Any]:
        """Return a summary for people: users' requests since the gateway started, and the classes predicted."""
        requests, workers = self.requests, await fetch(self.probe)
        mean_s, p99_s = requests.mean_s(), requests.quantile_s(0.99)
        return {
            "since": datetime.fromtimestamp(requests.since, UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
            "requests": requests.number("user"),
            "answered": requests.number("user", "200"),
            "probes": requests.number("probe"),
            "latency_ms": {
                "mean": None if mean_s is None else round(1000 * mean_s, 1),
                "p99": None if p99_s is None else round(1000 * p99_s, 1),
            },
            "predictions": None if workers is None else predictions(workers.decode()),
        }

    def take_refusal(self, line: bytes) -> None:
        """Count a request that Caddy answered itself. A line that cannot be read is passed over."""
        with suppress(ValueError, LookupError, TypeError, AttributeError, OverflowError, RecursionError):
            entry = json.loads(line)
            seconds = float(entry["duration"])
            if entry["protocol"] == FEEDBACK and self.feedback is not None:
                self.feedback.count_refused(str(entry["problem"]))
            if entry["protocol"] == IMAGES and self.images is not None:
                self.images.count_refused(str(entry["problem"]))
            # Caddy names the traffic, as it does not for probes.
            explained = entry["protocol"] == EXPLANATION
            protocol = "rest" if explained else entry["protocol"]
            if protocol in PROTOCOLS and math.isfinite(seconds) and seconds >= 0:
                self.requests.count(
                    protocol,
                    int(entry["code"]),
                    str(entry["problem"]),
                    EXPLANATION if explained else traffic_of(str(entry.get("probe"))),
                    seconds,
                )


def predictions(text: str) -> dict[str, int]:
    """Return users' predictions by class, from the workers' metrics."""
    return {
        sample.labels["class"]: int(sample.value)
        for family in text_string_to_metric_families(text)
        if family.name == "catsdogs_predictions"
        for sample in family.samples
        if sample.labels["traffic"] == "user"
    }


async def fetch(session: aiohttp.ClientSession) -> bytes | None:
    """Return the metrics of a part of the server, or None where it does not answer."""
    try:
        async with session.get("http://metrics/metrics", headers={"Accept": "text/plain"}) as response:
            return await response.read() if response.status == 200 else None
    except (aiohttp.ClientError, TimeoutError):
        return None


@asynccontextmanager
async def serve_telemetry(run: Path, telemetry: Telemetry) -> AsyncIterator[None]:
    """Serve on both sockets while the context is entered."""

    async def read_refusals(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                telemetry.take_refusal(line)
        except (OSError, ValueError):  # the connection is broken, or a line is too long; Caddy connects anew
            pass
        finally:
            writer.close()

    paths = run / "refused.sock", run / "telemetry.sock"
    for path in paths:
        path.unlink(missing_ok=True)
    runner = web.ServerRunner(web.Server(telemetry.handle, access_log=None))
    await runner.setup()
    refusals = await asyncio.start_unix_server(read_refusals, str(paths[0]), limit=MAX_LINE)
    keeping = asyncio.create_task(telemetry.drift.keep())
    try:
        await web.UnixSite(runner, str(paths[1]), backlog=BACKLOG).start()
        for path in paths:
            path.chmod(0o660)
        yield
    finally:
        keeping.cancel()
        refusals.close()
        await runner.cleanup()
        for path in paths:
            path.unlink(missing_ok=True)
