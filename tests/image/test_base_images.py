"""The tool that pins what images are built on, against a stand-in for a registry. It was not run against Docker Hub."""

import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from handler.files import UserError
from k8s.base_images import DOCKER_HUB, INDEXES, MOST_BYTES, Reference, main, parse
from tests.serving.web import forget_environment

SHA = "sha256:" + "0" * 64


def index(*architectures: str) -> bytes:
    manifests = [
        {"digest": SHA, "platform": {"os": "linux", "architecture": architecture}} for architecture in architectures
    ]
    return json.dumps({"schemaVersion": 2, "manifests": manifests}).encode()


class Registry:
    """One that has a single image, and wants a token for it, as Docker Hub does of strangers."""

    def __init__(self) -> None:
        self.body = index("amd64", "arm64", "s390x")
        self.type = INDEXES[0]
        self.claimed_digest: str | None = None
        self.status = 200
        self.closed = True
        self.token: str | None = "t0ken"
        self.paths: list[str] = []
        registry = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_: object) -> None:
                pass

            def do_GET(self) -> None:
                registry.answer(self)

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.host = f"127.0.0.1:{self.server.server_port}"

    @property
    def digest(self) -> str:
        return f"sha256:{hashlib.sha256(self.body).hexdigest()}"

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        self.paths.append(request.path)
        if request.path.startswith("/token?"):
            self.send(request, 200, {}, json.dumps({"token": self.token}).encode())
        elif self.closed and request.headers["Authorization"] != f"Bearer {self.token}":
            realm = f'Bearer realm="http://{self.host}/token",service="registry",scope="repository:base:pull"'
            self.send(request, 401, {"WWW-Authenticate": realm}, b"{}")
        else:
            assert set(INDEXES) <= set(request.headers["Accept"].split(", "))
            headers = {"Content-Type": self.type, "Docker-Content-Digest": self.claimed_digest or self.digest}
            self.send(request, self.status, headers, self.body)

    def send(self, request: BaseHTTPRequestHandler, status: int, headers: dict[str, str], body: bytes) -> None:
        request.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            request.send_header(name, value)
        request.end_headers()
        request.wfile.write(body)


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> Iterator[Registry]:
    forget_environment(monkeypatch)
    made = Registry()
    with made.server:
        thread = threading.Thread(target=made.server.serve_forever)
        thread.start()
        yield made
        made.server.shutdown()
        thread.join()


@pytest.fixture
def file(registry: Registry, tmp_path: Path) -> Path:
    path = tmp_path / "base-images.env"
    path.write_text(f"# A comment.\nSERVE_BASE={registry.host}/base:stable\nOTHER={registry.host}/team/other:1.2\n")
    return path


def test_each_tag_gets_the_digest_that_its_registry_has(registry: Registry, file: Path) -> None:
    assert main(["--file", str(file)]) == 0
    assert file.read_text() == (
        f"# A comment.\nSERVE_BASE={registry.host}/base:stable@{registry.digest}\n"
        f"OTHER={registry.host}/team/other:1.2@{registry.digest}\n"
    )
    assert "/v2/base/manifests/stable" in registry.paths
    assert "/v2/team/other/manifests/1.2" in registry.paths
    assert "/token?service=registry&scope=repository%3Abase%3Apull" in registry.paths


def test_a_registry_that_wants_no_token_is_asked_for_none(registry: Registry, file: Path) -> None:
    registry.closed = False
    assert main(["--file", str(file)]) == 0
    assert len(registry.paths) == 2


def test_a_tag_that_has_moved_gets_its_new_digest(
    registry: Registry, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["--file", str(file)])
    old = registry.digest
    registry.body = index("arm64", "amd64")
    assert main(["--file", str(file), "--check"]) == 1
    assert old in file.read_text(), "--check changes nothing"
    assert main(["--file", str(file)]) == 0
    assert old not in file.read_text()
    assert f"base:stable@{registry.digest} (was " in capsys.readouterr().out
    assert main(["--file", str(file), "--check"]) == 0


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "not there": ({"status": 404}, "answers 404 Not Found."),
    "one processor": (
        {"type": "application/vnd.oci.image.manifest.v1+json"},
        "for one kind of processor, and no index",
    ),
    "without arm": ({"body": index("amd64", "s390x")}, "has no image for linux/arm64."),
    "another digest": ({"claimed_digest": SHA}, f"says that its digest is {SHA}, but what came has sha256:"),
    "no JSON": ({"body": b"<html>"}, "is no index that can be read."),
    "endless": ({"body": b" " * (MOST_BYTES + 1)}, "which no index has."),
    "no token": ({"token": None}, "/token answers 200 without a token."),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_cannot_be_pinned_is_a_sentence_and_changes_nothing(
    registry: Registry, file: Path, case: str, capsys: pytest.CaptureFixture[str]
) -> None:
    changes, sentence = WRONG[case]
    for name, value in changes.items():
        setattr(registry, name, value)
    before = file.read_text()
    assert main(["--file", str(file)]) == 2
    message = capsys.readouterr().err
    assert "nothing was changed. " in message
    assert sentence in message
    assert file.read_text() == before


def test_a_registry_that_is_not_there_is_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "base-images.env"
    path.write_text("BASE=127.0.0.1:1/base:stable\n")
    assert main(["--file", str(path)]) == 2
    assert "http://127.0.0.1:1/v2/base/manifests/stable cannot be asked" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("debian:bookworm-slim", f"https://{DOCKER_HUB}/v2/library/debian/manifests/bookworm-slim"),
        ("prom/prometheus:v3.8.0", f"https://{DOCKER_HUB}/v2/prom/prometheus/manifests/v3.8.0"),
        ("registry.example/a/b:1", "https://registry.example/v2/a/b/manifests/1"),
        ("registry.example:5000/b:1", "https://registry.example:5000/v2/b/manifests/1"),
        ("localhost:5000/b:1", "http://localhost:5000/v2/b/manifests/1"),
    ],
)
def test_an_image_is_found_where_docker_pull_finds_it(text: str, url: str) -> None:
    assert parse(text).manifest == url


def test_a_digest_is_kept_apart_from_its_tag() -> None:
    assert parse(f"debian:bookworm-slim@{SHA}") == Reference("debian", "bookworm-slim", SHA)


@pytest.mark.parametrize("text", ["debian", "debian@" + SHA, "Debian:1", "debian:1@sha256:0"])
def test_what_is_no_image_with_a_tag_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="is not an image"):
        parse(text)
