"""`catsdogs check` brings a key from a file, as its pod has it."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from click.testing import CliRunner

from serving.cli.check import check

KEY = "k" * 22


def asked_with(monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]) -> list[str | None]:
    """The header Authorization of each of its requests to a server that is never ready."""
    headers: list[str | None] = []

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            headers.append(self.headers["Authorization"])
            self.send_error(503)

    for name in ("CATSDOGS_KEY", "CATSDOGS_KEY_FILE"):
        monkeypatch.delenv(name, raising=False)
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}"
        done = CliRunner().invoke(check, ["--url", url, "--pictures", "serving/samples"], env=environment)
        server.shutdown()
        thread.join()
    assert done.exit_code != 0
    return headers


def test_the_first_key_of_the_file_is_brought(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "keys").write_text(f"\n{KEY}\nanother-key-of-128-bits\n")
    headers = asked_with(monkeypatch, {"CATSDOGS_KEY_FILE": str(tmp_path / "keys")})
    assert set(headers) == {f"Bearer {KEY}"}


def test_without_one_there_is_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    assert set(asked_with(monkeypatch, {})) == {None}
