"""The truth about the workers, without queueing behind their requests. Standard library only.

TorchServe's own /ping says Healthy with no model at all. Here the server is ready when its frontend answers and at
least one worker, which has answered its warm-up, has beaten within BEAT_S and is not stuck in a batch.
"""

import contextlib
import http.client
import json
import os
import socket
import socketserver
import threading
import time
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from pathlib import Path

# Four missed beats of half a second: a worker whose thread waits for a core is not dead.
BEAT_S = 2.0
# TorchServe replaces a worker after responseTimeout, 10 s; until then it may still answer.
STUCK_S = 12.0
FRONTEND_S = 1.0


@dataclass(frozen=True, slots=True)
class Health:
    """What was found, and in words why it is not ready."""

    ready: bool
    workers: int
    reason: str = ""


def live_workers(heartbeats: Path, now: float) -> list[int]:
    """Process ids of the workers that can answer."""
    pids = []
    for path in heartbeats.glob("[0-9]*.json"):
        try:
            beat = json.loads(path.read_bytes())
            os.kill(beat["pid"], 0)
        except (OSError, ValueError):
            continue
        stuck = beat["busy_since"] is not None and now - beat["busy_since"] > STUCK_S
        if now - beat["time"] <= BEAT_S and not stuck:
            pids.append(beat["pid"])
    return pids


class UnixConnection(http.client.HTTPConnection):
    """HTTP to a unix socket."""

    def __init__(self, path: Path, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self.path))


def frontend_answers(inference_socket: Path) -> bool:
    """Whether TorchServe's frontend takes requests; its /ping says no more than that."""
    connection = UnixConnection(inference_socket, FRONTEND_S)
    try:
        connection.request("GET", "/ping")
        return connection.getresponse().status < 600
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def check(run: Path) -> Health:
    """The health of the TorchServe whose run directory this is."""
    workers = len(live_workers(run / "heartbeats", time.time()))
    if not workers:
        return Health(False, 0, "no worker can answer")
    if not frontend_answers(run / "inference.sock"):
        return Health(False, workers, "the frontend does not answer")
    return Health(True, workers)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: "ProbeServer"

    def do_GET(self) -> None:
        health = check(self.server.run)
        if self.path == "/ping":
            # TorchServe's words, for clients that know it.
            body = {"status": "Healthy" if health.ready else "Unhealthy"}
            status = 200 if health.ready else 500
        else:
            body = {"ready": health.ready, "workers": health.workers}  # type: ignore[dict-item]
            if health.reason:
                body["reason"] = health.reason
            status = 200 if health.ready else 503
        data = json.dumps(body).encode() + b"\n"
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        with contextlib.suppress(ConnectionError):  # the gateway asks with a time-out, and may have left
            self.wfile.write(data)

    def log_message(self, format: str, *arguments: object) -> None:
        pass


class ProbeServer(socketserver.ThreadingUnixStreamServer):
    """Answers the gateway's questions on `run`/probe.sock from a thread."""

    daemon_threads = True

    def __init__(self, run: Path) -> None:
        self.run = run
        super().__init__(str(run / "probe.sock"), _Handler)
        threading.Thread(target=self.serve_forever, name="probe", daemon=True).start()
