"""A web server for the demo's folder on this machine.

python -m serving.demo.serve build/web-demo --port 8000
"""

import argparse
import sys
from collections.abc import Sequence
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class Handler(SimpleHTTPRequestHandler):
    """Files with the content types that a static host sends, whatever this machine's own table says."""

    extensions_map = {  # noqa: RUF012  # the library's own attribute, which it does not change
        **SimpleHTTPRequestHandler.extensions_map,
        ".js": "text/javascript",
        ".json": "application/json",
        ".wasm": "application/wasm",
    }

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Log errors alone."""


def server(folder: Path, port: int = 0) -> ThreadingHTTPServer:
    """Return a server of a folder on 127.0.0.1, at a free port where none is named."""
    return ThreadingHTTPServer(("127.0.0.1", port), partial(Handler, directory=str(folder)))


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m serving.demo.serve", description="Serve the demo's folder.")
    parser.add_argument("folder", type=Path, help="Folder that serving.demo.build made.")
    parser.add_argument("--port", type=int, default=8000, help="Port on 127.0.0.1 (default: 8000).")
    given = parser.parse_args(arguments)
    if not (given.folder / "model.json").is_file():
        parser.error(f"{given.folder} is not the folder of a demo: make it by `make web-demo`.")
    with server(given.folder, given.port) as running:
        print(f"http://127.0.0.1:{running.server_port}/ (Ctrl-C stops it)", flush=True)
        try:
            running.serve_forever()
        except KeyboardInterrupt:
            print()
    return 0


if __name__ == "__main__":
    sys.exit(main())
