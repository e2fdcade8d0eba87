"""A registry of the tests' own, on 127.0.0.1: as much of OCI's distribution protocol as `helm push` needs."""

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

MANIFEST = "application/vnd.oci.image.manifest.v1+json"


class Registry(BaseHTTPRequestHandler):
    """Blobs and manifests in memory, for whoever asks."""

    stored: ClassVar[dict[str, bytes]]
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        pass

    def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_GET(self) -> None:
        if self.path == "/v2/":
            self.answer(200)
        elif (body := self.stored.get(self.path)) is not None:
            is_manifest = "/manifests/" in self.path
            kind = MANIFEST if is_manifest else "application/octet-stream"
            self.answer(200, body, Docker_Content_Digest=digest(body), Content_Type=kind)
        else:
            self.answer(404)

    do_HEAD = do_GET

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.answer(202, Location=f"{self.path}1")

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        folder, uploads, _ = self.path.partition("/blobs/uploads/")
        self.stored[f"{folder}/blobs/{digest(body)}" if uploads else self.path] = body
        self.answer(201, Docker_Content_Digest=digest(body), Location=self.path)


def digest(body: bytes) -> str:
    return f"sha256:{hashlib.sha256(body).hexdigest()}"


@contextmanager
def registry() -> Iterator[tuple[str, dict[str, bytes]]]:
    """Run a registry; yield its host and port, and what is stored in it by its path."""
    stored: dict[str, bytes] = {}
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Stored", (Registry,), {"stored": stored}))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_port}", stored
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
