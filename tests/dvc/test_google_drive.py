"""DVC's library for Google Drive signs with a service account's key: a token server gets its request, and checks it."""

import base64
import json
import subprocess
import threading
import urllib.parse
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from tests.zoo import ROOT

PYTHON = ROOT / ".venv-dvc-gdrive" / "bin" / "python"
LOGIN = """
import sys
from pydrive2.auth import GoogleAuth
settings = {"client_config_backend": "service", "service_config": {"client_json_file_path": sys.argv[1]}}
login = GoogleAuth(settings=settings)
login.ServiceAuth()
print(login.credentials.get_access_token().access_token)
"""


@pytest.fixture
def key(tmp_path: Path) -> Path:
    subprocess.run(
        ["openssl", "genpkey", "-quiet", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", "key.pem"],
        cwd=tmp_path,
        check=True,
    )
    subprocess.run(["openssl", "pkey", "-in", "key.pem", "-pubout", "-out", "public.pem"], cwd=tmp_path, check=True)
    return tmp_path / "key.pem"


@pytest.fixture
def tokens() -> Iterator[tuple[str, list[str]]]:
    """The address of a server that gives out a token, and what was posted to it."""
    posted: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            posted.append(self.rfile.read(int(self.headers["Content-Length"])).decode())
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(b'{"access_token": "granted", "expires_in": 3600}')

        def log_message(self, format: str, *values: object) -> None:
            """Say nothing."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/token", posted
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_service_account_signs_and_gets_a_token(key: Path, tokens: tuple[str, list[str]], tmp_path: Path) -> None:
    assert PYTHON.exists(), f"{PYTHON} is missing: run the tests by make, or `make .venv-dvc-gdrive/.installed`"
    url, posted = tokens
    account = {
        "type": "service_account",
        "client_id": "1",
        "client_email": "dvc@project.example",
        "private_key_id": "2",
        "private_key": key.read_text(),
        "token_uri": url,
    }
    (tmp_path / "account.json").write_text(json.dumps(account))
    done = subprocess.run(
        [PYTHON, "-c", LOGIN, tmp_path / "account.json"],
        capture_output=True,
        text=True,
        env={"NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"},
    )
    assert done.stdout == "granted\n", done.stderr
    assertion = urllib.parse.parse_qs(posted[0])["assertion"][0]
    signed, _, signature = assertion.rpartition(".")
    assert json.loads(decoded(signed.partition(".")[2]))["iss"] == account["client_email"]
    (tmp_path / "signature").write_bytes(decoded(signature))
    checked = subprocess.run(
        ["openssl", "dgst", "-sha256", "-verify", "public.pem", "-signature", "signature"],
        cwd=tmp_path,
        input=signed.encode(),
        capture_output=True,
    )
    assert checked.stdout == b"Verified OK\n", checked.stderr


def decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
