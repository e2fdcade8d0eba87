"""The process that carries out operations for the gateway: python -m serving.images.worker SOCKET SIZE RESIZE

Its only clients are the relay's requests, which are complete and bounded. It takes one at a time, since only a main
thread can be interrupted (handler/budget.py). A picture that breaks it costs no prediction: it yields the processor to
the workers, is the first process that a lack of memory ends, and is started again (serving/images/process.py).
"""

import contextlib
import os
import socket
import socketserver
import sys
import urllib.parse
from functools import partial
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import cast

from handler.base64_text import picture_in_text
from handler.form import Part, form_parts
from handler.payload import choose_picture
from handler.preprocess import InputSpec, Resize
from handler.problem import Problem
from handler.sniff import is_picture
from serving.images.bounds import Bounds
from serving.images.operations import OPERATIONS, Result, apply
from serving.images.parameters import Parameters, read_parameters
from serving.images.wire import BOUNDARY, MAX_RESULT, PREFIX, REQUEST_ID

PROBLEM = "application/problem+json"
# The relay sends what it has in memory.
SOCKET_S = 10.0
# The relay asks one thing at a time; after a time-out it may ask again before this process is ready.
BACKLOG = 8
NICE = 10
FIRST_TO_END = "1000"


class Worker(socketserver.UnixStreamServer):
    """The server on the socket. Its socket is for the group, as those of TorchServe are."""

    request_queue_size = BACKLOG

    def __init__(self, path: Path, spec: InputSpec) -> None:
        self.spec = spec
        self.bounds = Bounds()
        path.unlink(missing_ok=True)
        super().__init__(str(path), Asked)
        path.chmod(0o660)

    def get_request(self) -> tuple[socket.socket, tuple[str, int]]:
        connection, _ = self.socket.accept()
        return connection, ("relay", 0)

    def handle_error(self, request: object, client_address: object) -> None:
        """Say in one line what failed: the relay answers that no worker could."""
        print(f"catsdogs: an image operation failed: {sys.exception()!r}", file=sys.stderr)


class Asked(BaseHTTPRequestHandler):
    """One request of the relay's, and its answer."""

    protocol_version = "HTTP/1.1"
    timeout = SOCKET_S

    def do_POST(self) -> None:
        # One connection is one request: the next one may wait for another client.
        self.close_connection = True
        length = int(self.headers["Content-Length"])
        body = self.rfile.read(length)
        if len(body) < length:  # the relay has gone
            return
        try:
            result = self._carry_out(body)
        except Problem as problem:
            document = problem.document(self.headers.get(REQUEST_ID))
            self._send(problem.status, Result(document, PROBLEM))
            return
        self._send(200, result)

    def _carry_out(self, body: bytes) -> Result:
        worker = cast(Worker, self.server)
        url = urllib.parse.urlsplit(self.path)
        operation = url.path.removeprefix(PREFIX)
        if operation not in OPERATIONS:
            raise Problem(404, "not_found", f"The operations are {', '.join(OPERATIONS)}.")
        parameters = read_parameters(operation, urllib.parse.parse_qsl(url.query, keep_blank_values=True))
        boundary = self.headers.get(BOUNDARY, "")
        work = partial(carry_out, operation, body, boundary, parameters, worker.spec)
        result = worker.bounds.run(work)
        if len(result.data) > MAX_RESULT:
            mib = MAX_RESULT >> 20
            raise Problem(413, "too_many_bytes", f"The result has more than {mib} MiB: resize the picture first.")
        return result

    def _send(self, status: int, result: Result) -> None:
        self.send_response_only(status)
        self.send_header("Content-Type", result.content_type)
        self.send_header("Content-Length", str(len(result.data)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(result.data)

    def log_message(self, format: str, *arguments: object) -> None:
        """Requests are logged by the relay."""


def carry_out(operation: str, body: bytes, boundary: str, parameters: Parameters, spec: InputSpec) -> Result:
    """Carry out an operation on the picture of a body, which may be a form or base64, as a prediction's may."""
    parts = form_parts(body, boundary) if boundary else [Part("body", body)]
    picture, _ = choose_picture(parts, is_form=bool(boundary))
    if not is_picture(picture):
        picture = picture_in_text(picture) or picture
    return apply(operation, picture, parameters, spec)


def main() -> None:
    """Serve until the process is ended."""
    socket_path, size, resize = sys.argv[1:]
    os.nice(NICE)
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(FIRST_TO_END)
    os.umask(0o007)
    Worker(Path(socket_path), InputSpec(int(size), cast(Resize, resize))).serve_forever()


if __name__ == "__main__":
    main()
