"""Judges whether the server is ready and whether it is alive. Standard library only: a pod's probes start it anew.

TorchServe's own /ping says Healthy with no model at all. Here the server is ready when its frontend answers and at
least one worker, which has answered its warm-up, has sent a heartbeat within BEAT_S and is not stuck in a batch.
No question waits behind the workers' requests.
"""

import contextlib
import http.client
import json
import os
import socket
import sys
import time
import urllib.parse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Four missed beats of half a second: a worker whose thread waits for a core is not dead.
BEAT_S = 2.0
# TorchServe replaces a worker after responseTimeout, 10 s; until then it may still answer.
STUCK_S = 12.0
FRONTEND_S = 1.0
PATIENT_S = 5.0
POLL_S = 0.1
DEAD_S = 60.0
# What a worker answers to a request without a picture.
NO_IMAGE = 400


@dataclass(frozen=True, slots=True)
class Health:
    """The outcome of a look at the workers. `reason` says why they are not ready."""

    ready: bool
    workers: int
    reason: str = ""
    pids: tuple[int, ...] = ()
    """Process ids of the workers that can answer."""


Beat = dict[str, Any]


def live_beats(heartbeats: Path, now: float) -> list[Beat]:
    """Return the heartbeats of the workers that can answer."""
    beats = []
    for path in heartbeats.glob("[0-9]*.json"):
        try:
            beat = json.loads(path.read_bytes())
            os.kill(beat["pid"], 0)
            stuck = beat["busy_since"] is not None and now - beat["busy_since"] > STUCK_S
            if now - beat["time"] <= BEAT_S and not stuck:
                beats.append(beat)
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return beats


def live_workers(heartbeats: Path, now: float) -> list[int]:
    """Return the process ids of the workers that can answer."""
    return [beat["pid"] for beat in live_beats(heartbeats, now)]


class UnixConnection(http.client.HTTPConnection):
    """HTTP to a unix socket."""

    def __init__(self, path: Path, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self.path))


def authorization(run: Path) -> dict[str, str]:
    """Return the header with TorchServe's inference token, another whenever TorchServe starts, where there is one."""
    try:
        return {"Authorization": f"Bearer {(run / 'inference.key').read_text().strip()}"}
    except OSError:
        return {}


def torchserve_status(run: Path, path: str, timeout_s: float, headers: Mapping[str, str] | None = None) -> int | None:
    """Return the status of TorchServe's answer, or None where it does not answer."""
    connection = UnixConnection(run / "inference.sock", timeout_s)
    try:
        connection.request("GET", path, headers={**authorization(run), **(headers or {})})
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def frontend_answers(run: Path, timeout_s: float = FRONTEND_S) -> bool:
    """Whether TorchServe's frontend takes requests; its /ping says no more than that."""
    return torchserve_status(run, "/ping", timeout_s) is not None


def worker_status(run: Path, timeout_s: float) -> int | None:
    """Return the HTTP status of a request without a picture, which waits where others do and costs a worker nothing.

    /invocations needs no model's name. Where there is one in the path TorchServe adds the header, by which the handler
    tells REST from gRPC.
    """
    return torchserve_status(run, "/invocations", timeout_s, {"explain": "False"})


def check(run: Path) -> Health:
    """Return the health of the TorchServe whose run directory this is."""
    pids = tuple(live_workers(run / "heartbeats", time.time()))
    if not pids:
        return Health(False, 0, "no worker can answer")
    if not frontend_answers(run):
        return Health(False, len(pids), "the frontend does not answer", pids)
    return Health(True, len(pids), pids=pids)


def why(run: Path) -> str:
    """Return the reason why the last worker could not load the model. It is for the operator, not for clients."""
    try:
        return f": {(run / 'heartbeats' / 'failure.txt').read_text()}"
    except OSError:
        return ""


def is_live(run: Path, now: float) -> Health:
    """Slow to judge: dead is a frontend that does not answer, a server none of whose workers has beaten or ended a
    batch for DEAD_S, and one whose workers wait while no request reaches them. A busy worker is alive, and one that is
    replaced is back long before that."""
    workers = live_beats(run / "heartbeats", now)
    if not workers and now - last_sign(run) > DEAD_S:
        return Health(False, 0, f"no worker has given a sign of life for {DEAD_S:.0f} s")
    if not frontend_answers(run, PATIENT_S):
        return Health(False, len(workers), "the frontend does not answer")
    if workers and all(beat["busy_since"] is None for beat in workers) and not is_served(run, workers):
        return Health(False, len(workers), "no request reaches the workers")
    return Health(True, len(workers))


def last_sign(run: Path) -> float:
    """Return the time of the workers' last heartbeat, or at which a hanging one was given its batch."""
    signs = [run.stat().st_mtime]
    for path in (run / "heartbeats").glob("[0-9]*.json"):
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            signs.append(float(json.loads(path.read_bytes())["busy_since"] or path.stat().st_mtime))
    return max(signs)


def is_served(run: Path, idle: Sequence[Beat]) -> bool:
    """Whether a request reaches one of the workers that had nothing to do.

    TorchServe's thread for a worker may end and leave the process, which beats on. Where the request waits behind
    others, or the queue is full, what the workers do meanwhile is the answer.
    """
    give_up = time.monotonic() + PATIENT_S
    if worker_status(run, PATIENT_S) == NO_IMAGE:
        return True
    batches = {beat["pid"]: beat.get("batches") for beat in idle}
    while True:
        later = live_beats(run / "heartbeats", time.time())
        works = any(beat["busy_since"] or beat.get("batches") != batches.get(beat["pid"]) for beat in later)
        if works or not later:  # being replaced, which may take DEAD_S
            return True
        if time.monotonic() > give_up:
            return False
        time.sleep(POLL_S)


def ask_gateway(question: str, url: str) -> int:
    """The same question put to a gateway from outside: 0 is yes, 1 says why not, and 2 that there is no such URL."""
    path, patience = ("/livez", 3 * PATIENT_S) if question == "live" else ("/readyz", PATIENT_S)
    try:
        parts = urllib.parse.urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("neither")
        host, port = parts.hostname, parts.port
        connection = http.client.HTTPConnection(host, port, timeout=patience)
        if parts.scheme == "https":
            from serving.gateway.tls import trusting

            # As the kubelet asks: nothing is sent that could be stolen, and no name that a certificate is for is known.
            connection = http.client.HTTPSConnection(host, port, timeout=patience, context=trusting(None))
    except ValueError:
        print(f"{url!r} is not a URL such as http://127.0.0.1:8080", file=sys.stderr)
        return 2
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        reason = f"{url}{path} answers {response.status}: {response.read(1000).decode(errors='replace').strip()}"
        ready = response.status == 200
    except (OSError, http.client.HTTPException) as error:
        ready, reason = False, f"{url} does not answer: {error}"
    finally:
        connection.close()
    if not ready:
        print(f"{question}: no, {reason}", file=sys.stderr)
    return not ready


def main(arguments: Sequence[str]) -> int:
    """`python -m serving.health.probe startup|ready|live RUN`: what probes execute; 0 is yes, and 1 says why not."""
    judges: dict[str, Callable[[Path], Health]] = {
        "startup": check,
        "ready": check,
        "live": lambda folder: is_live(folder, time.time()),
    }
    try:
        question, run = arguments
        judge = judges[question]
    except (ValueError, KeyError):
        print("usage: python -m serving.health.probe startup|ready|live RUN", file=sys.stderr)
        return 2
    try:
        health = judge(Path(run))
    except OSError as error:
        health = Health(False, 0, f"{run} is not the folder of a running server: {error.strerror}")
    if not health.ready:
        print(f"{question}: no, {health.reason}{why(Path(run))}", file=sys.stderr)
    return not health.ready


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
