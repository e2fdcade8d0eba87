"""A stand-in for the server, for what only the deployment decides: python standin_server.py PORT LABEL

It is ready at once, and calls all pictures LABEL.
"""

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

LABEL = sys.argv[2]


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.answer({"ready": True, "workers": 1})

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.answer({"label": LABEL, "probability": 1.0, "probabilities": {LABEL: 1.0}})

    def answer(self, document: dict[str, object]) -> None:
        body = json.dumps(document).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        pass


ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
