"""A web server with one file, which does to each request what the test says."""

import contextlib
import hashlib
import io
import os
import random
import re
import socket
import ssl
import subprocess
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

Turn = Callable[["Handler"], None]
PART = ".catsdogs.mar.part"


def archive_of(seed: int, size: int = 300_000) -> bytes:
    """A zip, as an archive is, of bytes that cannot be made smaller."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as packed:
        packed.writestr("model.mnn", random.Random(seed).randbytes(size))
    return buffer.getvalue()


DATA = archive_of(1)
OTHER = archive_of(2, 310_000)


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@dataclass
class Web:
    """A web server with one file. It records the requests, and answers by the first of `turns`, or else correctly."""

    data: bytes
    etag: str = '"one"'
    modified: str = ""
    turns: list[Turn] = field(default_factory=list)
    always: Turn | None = None
    requests: list[dict[str, str]] = field(default_factory=list)
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/models/catsdogs.mar"

    @property
    def ranges(self) -> list[str | None]:
        """Which part each request asked for."""
        return [headers.get("range") for headers in self.requests]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    web: Web

    def do_GET(self) -> None:
        self.web.requests.append({name.lower(): value for name, value in self.headers.items()} | {":path": self.path})
        self.close_connection = True
        if self.web.turns:
            self.web.turns.pop(0)(self)
        else:
            (self.web.always or right)(self)

    def log_message(self, format: str, *arguments: object) -> None:
        pass

    def head(self, status: int, **headers: object) -> None:
        self.send_response(status)
        # As a good server says before it closes: a client that keeps the connection may lose its next request there.
        self.send_header("Connection", "close")
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), str(value))
        if self.web.etag:
            self.send_header("ETag", self.web.etag)
        if self.web.modified:
            self.send_header("Last-Modified", self.web.modified)
        self.end_headers()

    def wanted(self) -> int:
        """The first byte that is asked for, where the condition holds."""
        condition = self.headers.get("If-Range")
        wanted = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        holds = condition in (None, self.web.etag or None, self.web.modified or None)
        return int(wanted[1]) if wanted and holds else 0


def right(request: Handler, upto: int | None = None) -> None:
    """Answer as a good server does, or as one whose connection breaks after `upto` bytes."""
    data, first = request.web.data, request.wanted()
    if first >= len(data):
        request.head(416, Content_Range=f"bytes */{len(data)}", Content_Length=0)
        return
    if first:
        told = {"Content_Range": f"bytes {first}-{len(data) - 1}/{len(data)}", "Content_Length": len(data) - first}
        request.head(206, **told)
    else:
        request.head(200, Content_Length=len(data))
    request.wfile.write(data[first:upto])


def cut(upto: int) -> Turn:
    return lambda request: right(request, upto)


def status(code: int, **headers: object) -> Turn:
    return lambda request: request.head(code, Content_Length=0, **headers)


def redirect(target: str) -> Turn:
    return status(302, Location=target)


def without_ranges(request: Handler) -> None:
    request.head(200, Content_Length=len(request.web.data))
    request.wfile.write(request.web.data)


def without_condition(request: Handler) -> None:
    """Sends the part that is asked for, whatever If-Range says."""
    del request.headers["If-Range"]
    right(request)


def without_length(request: Handler) -> None:
    request.head(200)
    request.wfile.write(request.web.data)


def held(upto: int, until: threading.Event) -> Turn:
    """Sends so many bytes, and the rest when it is told."""

    def turn(request: Handler) -> None:
        request.head(200, Content_Length=len(request.web.data))
        request.wfile.write(request.web.data[:upto])
        until.wait(60)
        request.wfile.write(request.web.data[upto:])

    return turn


def wait_for(question: Callable[[], bool], process: "subprocess.Popen[str]") -> None:
    """Until it is so, which another process brings about."""
    deadline = time.monotonic() + 60
    while not question():
        assert process.poll() is None, "it ended"
        assert time.monotonic() < deadline, "not within a minute"
        time.sleep(0.02)


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients are killed in these tests."""


@contextmanager
def serve(data: bytes, certificate: Path | None = None) -> Iterator[Web]:
    """
    Args:
        certificate: what FILE.crt and FILE.key have in common, for TLS.
    """
    web = Web(data)
    with Server(("127.0.0.1", 0), type("Handler", (Handler,), {"web": web})) as server:
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate.with_suffix(".crt"), certificate.with_suffix(".key"))
            server.socket = context.wrap_socket(server.socket, server_side=True)
        web.port = server.server_port
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield web
        server.shutdown()
        thread.join()


@contextmanager
def trickle(prefix: bytes, repeated: bytes = b"", pause_s: float = 0.01) -> Iterator[int]:
    """A server that says `prefix` to whoever connects, whatever is asked, and then `repeated` for ever, a byte at a
    time; its port. Without a pause it sends as fast as it can.

    On leaving it, every client must have closed its connection.
    """
    over = threading.Event()
    threads: list[threading.Thread] = []

    def talk(connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            connection.sendall(prefix)
            while not over.is_set():
                for number in range(len(repeated)) if pause_s else ():
                    connection.sendall(repeated[number : number + 1])
                    over.wait(pause_s)
                if not pause_s:
                    connection.sendall(repeated * 1000)
                if not repeated:
                    # What was asked, until the client closes.
                    over.wait(0.05)
                    if not connection.recv(1 << 16):
                        return

    def accept(listening: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while not over.is_set():
                connection, _ = listening.accept()
                threads.append(threading.Thread(target=talk, args=[connection]))
                threads[-1].start()

    with socket.create_server(("127.0.0.1", 0)) as listening:
        acceptor = threading.Thread(target=accept, args=[listening])
        acceptor.start()
        try:
            yield int(listening.getsockname()[1])
            for thread in list(threads):
                thread.join(10)
                assert not thread.is_alive(), "the client still holds its connection"
        finally:
            over.set()
            listening.shutdown(socket.SHUT_RDWR)
            acceptor.join()
            for thread in threads:
                thread.join()


def left(out: Path) -> list[str]:
    return sorted(path.name for path in out.parent.iterdir())


def forget_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove the variables by which this machine sets its proxies, CA bundle and AWS credentials."""
    for name in list(os.environ):
        if name.lower().endswith("_proxy") or name.startswith("AWS_") or name in ("SSL_CERT_FILE", "SSL_CERT_DIR"):
            monkeypatch.delenv(name)
