"""The gateway: what Caddy makes of its file, and what it hands on to servers that write down what they are given."""

import http.client
import json
import os
import secrets
import shutil
import socket
import socketserver
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest

from common.ports import free_ports
from serving.gateway.caddy import GATEWAY, find_caddy
from serving.gateway.relay.process import go_threads
from tests.e2e.support import wait_for

ENVIRONMENT = {
    "BIND": "127.0.0.1",
    "REST_PORT": "18080",
    "GRPC_PORT": "17070",
    "METRICS_PORT": "18082",
    "RUN": "/run/ts",
    "PAGE": "/srv/page",
    "SAMPLES": "/srv/samples",
}


@pytest.fixture(scope="module", params=["off", "on"])
def tls(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def servers(tls: str) -> dict[str, Any]:
    """Return the HTTP servers of the configuration that Caddy makes of the Caddyfile."""
    command = [str(find_caddy()), "adapt", "--config", str(GATEWAY / "Caddyfile"), "--adapter", "caddyfile"]
    environment = {**os.environ, **ENVIRONMENT, "TLS": tls, "TLS_PAIR": "http://127.0.0.1:1/"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    servers: dict[str, Any] = json.loads(done.stdout)["apps"]["http"]["servers"]
    return servers


def test_the_limits_are_those_of_the_listeners(servers: dict[str, Any]) -> None:
    """Caddy ignores a `servers` block that does not name its listener to the letter, without a word."""
    assert {name: server["listen"] for name, server in servers.items()} == {
        "rest": ["127.0.0.1:18080"],
        "grpc": ["127.0.0.1:17070"],
        "metrics": ["127.0.0.1:18082"],
        "own": ["unix//run/ts/caddy.sock|0660"],
    }
    assert all(server["read_header_timeout"] and server["idle_timeout"] for server in servers.values())


def test_nothing_asks_for_a_certificate(servers: dict[str, Any]) -> None:
    assert all(server["automatic_https"] == {"disable": True} for server in servers.values())


def test_tls_is_for_rest_and_grpc_from_version_1_2_on(servers: dict[str, Any], tls: str) -> None:
    policy = [{"protocol_min": "tls1.2", "protocol_max": "tls1.3"}] if tls == "on" else None
    spoken = {name: server.get("tls_connection_policies") for name, server in servers.items()}
    assert spoken == {"rest": policy, "grpc": policy, "metrics": None, "own": None}


def test_the_file_is_formatted_as_caddy_formats(tmp_path: Path) -> None:
    done = subprocess.run([str(find_caddy()), "fmt", str(GATEWAY / "Caddyfile")], capture_output=True, check=False)
    assert done.stdout == (GATEWAY / "Caddyfile").read_bytes()


METHOD = "/org.pytorch.serve.grpc.inference.InferenceAPIsService/Predictions"
KEY = secrets.token_urlsafe(32)
BEARER = {"Authorization": f"Bearer {KEY}"}


@dataclass
class Gateway:
    """A running gateway and what came through it."""

    url: str
    grpc_port: int
    log: Path
    rest: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    """Path and headers of what the relay would have been given."""


def recorder(socket_path: Path, seen: list[tuple[str, dict[str, str]]]) -> socketserver.ThreadingUnixStreamServer:
    class Recorder(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            seen.append((self.path, {key.lower(): value for key, value in self.headers.items()}))
            if self.headers.get("Transfer-Encoding") == "chunked":
                while size := int(self.rfile.readline(), 16):
                    self.rfile.read(size + 2)
                self.rfile.readline()
            else:
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
            answer = bytes(5) if self.path == METHOD else b"{}"
            self.send_response(200)
            self.send_header("Content-Type", self.headers.get("Content-Type", ""))
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    server = socketserver.ThreadingUnixStreamServer(str(socket_path), Recorder)
    server.daemon_threads = True
    return server


@pytest.fixture(scope="module")
def gateway() -> Iterator[Gateway]:
    """Wants a key, and logs all that Caddy can be made to log."""
    # A unix socket's path may have 107 bytes; pytest's folders leave little of them.
    run = Path(tempfile.mkdtemp(prefix="gw-", dir="/tmp"))
    rest, grpc_port, metrics = free_ports(3)
    (run / "keys").write_text(KEY)
    made = Gateway(f"http://127.0.0.1:{rest}", grpc_port, run / "log")
    environment = {
        **os.environ,
        **{"BIND": "127.0.0.1", "REST_PORT": str(rest), "GRPC_PORT": str(grpc_port), "METRICS_PORT": str(metrics)},
        **{"RUN": str(run), "PAGE": str(GATEWAY / "page"), "SAMPLES": str(GATEWAY.parent / "samples")},
        **{"AUTH": "keys", "KEYS": str(run / "keys"), "LOG_LEVEL": "DEBUG"},
        **{"XDG_CONFIG_HOME": str(run), "XDG_DATA_HOME": str(run), "DRAIN_DELAY": "0s"},
    }
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, run)
        relay = stack.enter_context(recorder(run / "relay.sock", made.rest))
        threading.Thread(target=relay.serve_forever, daemon=True).start()
        stack.callback(relay.shutdown)
        log = stack.enter_context(made.log.open("wb"))
        command = [str(find_caddy()), "run", "--config", str(GATEWAY / "Caddyfile"), "--adapter", "caddyfile"]
        child = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        stack.callback(child.wait)
        stack.callback(child.kill)

        def listens() -> bool:
            assert child.poll() is None, made.log.read_text()
            with socket.socket() as attempt:
                return attempt.connect_ex(("127.0.0.1", rest)) == 0

        wait_for(listens, 20, "the gateway listens")
        yield made


def post(gateway: Gateway, path: str, headers: dict[str, str] | None = None) -> tuple[str, dict[str, str]]:
    """Sends a body; gives the path and headers that come out at the other side."""
    gateway.rest.clear()
    response = httpx.post(
        f"{gateway.url}{path}", content=b"a picture", headers=BEARER | (headers or {}), trust_env=False
    )
    assert response.status_code == 200, response.text
    ((out, seen),) = gateway.rest
    return out, seen


@pytest.mark.parametrize(
    ("path", "out", "protocol"),
    [
        ("/predictions", "/predictions/catsdogs", None),
        ("/predictions/catsdogs", "/predictions/catsdogs", None),
        ("/predictions/catsdogs/1.0.0", "/predictions/catsdogs/1.0.0", None),
        ("/v1/models/catsdogs:predict", "/predictions/catsdogs", "v1"),
        ("/v1/models/catsdogs%3Apredict", "/predictions/catsdogs", "v1"),
        ("/v2/models/catsdogs/infer", "/predictions/catsdogs", "v2"),
        ("/v2/models/catsdogs/versions/1.0.0/infer", "/predictions/catsdogs/1.0.0", "v2"),
    ],
)
def test_the_path_alone_says_the_protocol(gateway: Gateway, path: str, out: str, protocol: str | None) -> None:
    for sent in ({}, {"X-Catsdogs-Protocol": "v1"}, {"x-catsdogs-protocol": "v2"}):
        reached, seen = post(gateway, f"{path}?x=1&data=2", sent)
        assert reached == out
        assert seen.get("x-catsdogs-protocol") == protocol


@pytest.mark.parametrize(
    ("path", "out"),
    [
        ("/explanations", "/explanations/catsdogs"),
        ("/explanations/catsdogs/", "/explanations/catsdogs"),
        ("/explanations/catsdogs/1.0.0?class=dog&x=%0d%0a", "/explanations/catsdogs/1.0.0?class=dog&x=%0d%0a"),
        ("/predictions/../explanations?format=png", "/explanations/catsdogs?format=png"),
    ],
)
def test_an_explanation_keeps_its_query_which_the_relay_reads(gateway: Gateway, path: str, out: str) -> None:
    with closing(http.client.HTTPConnection(gateway.url.removeprefix("http://"), timeout=20)) as connection:
        gateway.rest.clear()
        connection.request("POST", path, b"a picture", BEARER)
        assert connection.getresponse().read() == b"{}"
        ((reached, seen),) = gateway.rest
    assert reached == out
    assert "x-catsdogs-class" not in seen


@pytest.mark.parametrize(
    ("query", "unsure"),
    [("", ""), ("?unsure=true", "true"), ("?unsure=false", "false"), ("?unsure=", ""), ("?UNSURE=true", "")]
    + [(f"?unsure={odd}", "odd") for odd in ("1", "TRUE", "true%0AX-Top-K:%201", "%00", "true&unsure=false")],
)
def test_the_query_alone_says_whether_an_answer_says_that_it_is_unsure(
    gateway: Gateway, query: str, unsure: str
) -> None:
    for sent in ({}, {"X-Catsdogs-Unsure": "true"}):
        _, seen = post(gateway, f"/predictions/catsdogs{query}", sent)
        assert seen.get("x-catsdogs-unsure", "") == unsure
        assert "x-top-k" not in seen or seen["x-top-k"] == ""


@pytest.mark.parametrize("detour", ["/explanations/catsdogs", "/models/catsdogs", "/ping/x", "/predictions/other"])
def test_a_path_is_handed_on_as_it_was_judged(gateway: Gateway, detour: str) -> None:
    """The gateway judges a path without its dots; TorchServe would read it with them, and answer what is closed."""
    with closing(http.client.HTTPConnection(gateway.url.removeprefix("http://"), timeout=20)) as connection:
        for up in ("/../..", "/%2e%2e/%2e%2e", "/.././.."):
            gateway.rest.clear()
            connection.request("POST", f"{detour}{up}/predictions/catsdogs/1.0.0", b"a picture", BEARER)
            assert connection.getresponse().read() == b"{}"
            ((reached, _),) = gateway.rest
            assert reached == "/predictions/catsdogs/1.0.0"


@pytest.mark.parametrize(
    ("query", "top_k"),
    [("", ""), ("?top_k=3", "3"), ("?x=1&top_k=12", "12"), ("?top_k=", ""), ("?TOP_K=3", "")]
    + [(f"?top_k={odd}", "0") for odd in ("three", "-1", "1%0AX-Timeout-Ms:%200", "1%00", "%D9%A3", "1&top_k=2")],
)
def test_the_query_alone_says_how_many_classes_and_brings_no_other_header(
    gateway: Gateway, query: str, top_k: str
) -> None:
    for sent in ({}, {"X-Top-K": "7"}):
        _, seen = post(gateway, f"/predictions/catsdogs{query}", sent)
        assert seen.get("x-top-k", "") == top_k
        assert "x-timeout-ms" not in seen


@pytest.mark.parametrize(
    ("content_type", "boundary"),
    [
        ("multipart/form-data; boundary=abc", "abc"),
        ('Multipart/Form-Data; charset=utf-8; boundary="a; b"; x=y', "a; b"),
        ("multipart/form-data", None),
        ("multipart/form-data; boundary=", None),
        ('multipart/form-data; boundary=""', None),
        ("application/json; boundary=abc", None),
        ("application/x-www-form-urlencoded", None),
    ],
)
def test_a_form_is_handed_on_as_bytes_with_its_boundary(
    gateway: Gateway, content_type: str, boundary: str | None
) -> None:
    for sent in ({}, {"X-Catsdogs-Boundary": "mine"}):
        _, seen = post(gateway, "/predictions/catsdogs", {"Content-Type": content_type, **sent})
        assert seen["content-type"] == "application/octet-stream"
        assert seen.get("x-catsdogs-boundary") == boundary


@pytest.mark.parametrize("coding", ["gzip", "br", "deflate, gzip"])
def test_a_compressed_body_is_refused_and_said_to_be(gateway: Gateway, coding: str) -> None:
    headers = BEARER | {"Content-Encoding": coding}
    answer = httpx.post(f"{gateway.url}/predictions/catsdogs", content=b"x", headers=headers, trust_env=False)
    assert (answer.status_code, answer.json()["code"]) == (415, "unsupported_encoding")
    assert answer.headers["accept-encoding"] == "identity"


def test_a_key_goes_no_further_than_the_gateway(gateway: Gateway) -> None:
    for path in ("/predictions/catsdogs", "/v1/models/catsdogs:predict", "/v2/models/catsdogs/infer"):
        _, seen = post(gateway, path)
        assert KEY not in str(seen)
    gateway.rest.clear()
    with grpc.insecure_channel(f"127.0.0.1:{gateway.grpc_port}") as channel:
        channel.unary_unary(METHOD)(b"", timeout=20, metadata=[("authorization", f"Bearer {KEY}")])
    ((path, seen),) = gateway.rest
    assert path == METHOD
    assert "user-agent" in seen
    assert KEY not in str(seen)


def test_no_key_right_or_wrong_is_in_the_log_however_much_is_logged(gateway: Gateway) -> None:
    wrong = secrets.token_urlsafe(32)
    post(gateway, "/predictions/catsdogs", {"X-Request-Id": "logged-at-length"})
    for headers in ({"Authorization": f"Bearer {wrong}"}, {"Authorization": wrong}):
        refused = httpx.post(f"{gateway.url}/predictions/catsdogs", headers=headers, trust_env=False)
        assert refused.status_code == 401
    wait_for(lambda: "logged-at-length" in gateway.log.read_text(), 10, "the log is written")
    log = gateway.log.read_text()
    assert KEY not in log
    assert wrong not in log


@pytest.mark.parametrize(("cores", "threads"), [(1, "1"), (2, "1"), (3, "1"), (4, "2"), (16, "8")])
def test_caddy_computes_on_half_of_the_cores(cores: int, threads: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GOMAXPROCS", raising=False)
    assert go_threads(cores) == {"GOMAXPROCS": threads}


def test_caddy_s_threads_are_the_operator_s_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOMAXPROCS", "3")
    assert go_threads(2) == {}
