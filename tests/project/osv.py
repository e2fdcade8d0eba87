"""A stand-in for an OSV server, which knows what a test tells it and nothing else."""

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Known = Mapping[tuple[str, str], Mapping[str, Any]]
"""A vulnerability by the package and the version that have it."""


@contextmanager
def serve_osv(known: Known) -> Iterator[str]:
    """Answer queries for a package's version on a free port; yields the URL for them."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            query = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            vulnerability = known.get((query["package"]["name"], query["version"]))
            body = json.dumps({"vulns": [vulnerability]} if vulnerability else {}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/v1/query"
        finally:
            server.shutdown()
            thread.join()
