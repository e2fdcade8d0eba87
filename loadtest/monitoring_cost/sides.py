"""The two servers that are compared: with everything of the monitoring on, and with everything off."""

import http.client
import shutil
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from handler.files import UserError
from handler.records import VARIABLE as RECORDS
from loadtest.judge.server import Scrape, read
from loadtest.stages.measure import SETTLE_S
from loadtest.stages.server import Server, serving
from loadtest.stages.tiny import copy_archive

HERE = Path(__file__).parent
ON, OFF = "on", "off"
SIDES = (ON, OFF)
SCRAPE_S = 5.0
COUNTING = "handler/counting.py"
# Both count every prediction, one in the gateway and one in the workers.
COUNTERS = ("catsdogs_request_duration_seconds_count", "catsdogs_batch_pictures_count")
CADDY = "caddy_http_requests_total"
MEANING = (
    "On: the server as it comes, records of predictions (CATSDOGS_RECORDS), and a scrape of all metrics every"
    f" {SCRAPE_S:g} s. Off: nothing of catsdogs' counts or measures, neither the workers (times, features of pictures,"
    " predictions) nor the relay; Caddy's metrics are off; nobody scrapes. Heartbeats, which readiness needs, and"
    " TorchServe's own metrics are the same in both. The access log, which is off by default, is off in both."
)


@dataclass(frozen=True, slots=True)
class Program:
    """A server's archive, and what its environment has more than ours."""

    archive: Path
    environment: dict[str, str] = field(default_factory=dict)


def prepare(archive: Path, scratch: Path) -> dict[str, Program]:
    """Return both servers' programs; what they need is written to the folder `scratch`.

    Raises:
        UserError: the archive cannot be read.
    """
    site, changed = scratch / "site", scratch / "off" / "catsdogs.mar"
    site.mkdir()
    changed.parent.mkdir()
    shutil.copy(HERE / "no_metrics.py", site / "sitecustomize.py")
    addition = (HERE / "no_counting.py").read_bytes()

    def append(members: dict[str, bytes]) -> None:
        if COUNTING not in members:
            raise UserError(f"{archive} has no {COUNTING}: package it anew.")
        members[COUNTING] += b"\n\n" + addition

    copy_archive(archive, changed, append)
    return {
        ON: Program(archive, {RECORDS: str(scratch / "records")}),
        OFF: Program(changed, {"PYTHONPATH": str(site)}),
    }


@contextmanager
def started(program: Path, side: Program) -> Iterator[Server]:
    """Start a server and yield it once it is ready."""
    with serving(program, side.archive, side.environment) as server:
        yield server


@contextmanager
def scraping(server: Server, seconds: float = SCRAPE_S) -> Iterator[None]:
    """Scrape the server's metrics every so many seconds while the context is entered, first after half as long."""
    over = threading.Event()

    def run() -> None:
        over.wait(seconds / 2)
        while not over.is_set():
            # A machine that has no time for it is no reason to end: the counters are checked at the end of a round.
            with suppress(OSError, http.client.HTTPException):
                fetch(server)
            over.wait(seconds)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def fetch(server: Server) -> str:
    """Return the server's metrics as text."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"http://127.0.0.1:{server.metrics_port}/metrics", timeout=10) as response:
        return str(response.read().decode())


def counters(server: Server) -> Scrape:
    """Return the server's metrics once the workers have written theirs.

    Raises:
        UserError: they cannot be read.
    """
    time.sleep(SETTLE_S)
    try:
        return read(fetch(server))
    except (OSError, http.client.HTTPException) as error:
        raise UserError(f"The server's metrics cannot be read: {error}") from error


def check(side: str, counted: Scrape, records: Path) -> None:
    """Check that a server which has answered requests is what it is called.

    Raises:
        UserError: it counts although it is called off, or the other way round.
    """
    gateway, workers = (counted.sum(name) for name in COUNTERS)
    caddy = counted.sum(CADDY, server="rest")
    recorded = side == ON and any(records.glob("*"))
    counts = [gateway > 0, workers > 0, caddy > 0, recorded]
    if counts == [side == ON] * len(counts):
        return
    raise UserError(
        f"Nothing was compared: the server with monitoring {side} counted {gateway:.0f} requests in the relay,"
        f" {workers:.0f} batches in the workers and {caddy:.0f} requests in Caddy, and"
        f" {'wrote' if recorded else 'wrote no'} records."
    )
