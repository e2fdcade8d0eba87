"""A web server with an archive, for a pod: python web.py ARCHIVE [--hold BYTES]

/private.mar is for those with the token; /truncated.mar is an archive that was cut off while it was copied; of
/held.mar only --hold bytes are sent, and then nothing, until the server is ended. A path that ends with .sig is a file
beside this script. Writes a line of JSON for each request.
"""

import argparse
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

PORT = 8000
TOKEN = "Bearer let-me-in"
TRUNCATED = 1_000_000


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    data: bytes
    hold: int | None

    def do_GET(self) -> None:
        print(json.dumps({"path": self.path, "range": self.headers.get("Range")}), flush=True)
        if self.path == "/private.mar" and self.headers.get("Authorization") != TOKEN:
            self.send_response(401)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        if self.path.endswith(".sig"):
            self.send_signature(Path(__file__).with_name(self.path.rpartition("/")[2]))
            return
        data = self.data[:TRUNCATED] if self.path == "/truncated.mar" else self.data
        match = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        first = int(match[1]) if match else 0
        self.send_response(206 if first else 200)
        self.send_header("Content-Length", str(len(data) - first))
        if first:
            self.send_header("Content-Range", f"bytes {first}-{len(data) - 1}/{len(data)}")
        self.send_header("ETag", '"one"')
        self.end_headers()
        if self.path == "/held.mar" and self.hold:
            self.wfile.write(data[first : self.hold])
            print(json.dumps({"held": self.hold}), flush=True)
            threading.Event().wait()
        self.wfile.write(data[first:])

    def send_signature(self, file: Path) -> None:
        """Send a file that lies beside this script, where there is one."""
        data = file.read_bytes() if file.is_file() else b""
        self.send_response(200 if data else 404)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *arguments: object) -> None:
        pass


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("archive", type=Path)
    parser.add_argument("--hold", type=int)
    options = parser.parse_args()
    Handler.data, Handler.hold = options.archive.read_bytes(), options.hold
    with ThreadingHTTPServer(("0.0.0.0", PORT), Handler) as server:
        print(json.dumps({"serving": PORT}), flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main()
