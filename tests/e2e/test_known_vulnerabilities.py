"""Known attacks on inference servers, made on ours; docs/explanation/known-vulnerabilities.md lists them."""

import base64
import json
import pickle
import socket
import zipfile
from collections.abc import Iterator
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import grpc
import httpx
import psutil
import pytest

from serving.health.torchserve_client import UnixConnection
from serving.server.launch import Server
from tests import zoo
from tests.e2e.support import PATH
from tests.e2e.test_logs import bad
from tests.e2e.test_smuggling import LAST, exchange, post

V1, V2 = "/v1/models/catsdogs:predict", "/v2/models/catsdogs/infer"


class Listener:
    """A port that anybody may connect to and that answers nobody: the kernel keeps who came."""

    def __init__(self) -> None:
        self.socket = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.socket.setblocking(False)
        self.port = int(self.socket.getsockname()[1])

    def count(self) -> int:
        """Return how many have connected since the last count."""
        connections = 0
        while True:
            try:
                self.socket.accept()[0].close()
            except BlockingIOError:
                return connections
            connections += 1


@pytest.fixture
def listener() -> Iterator[Listener]:
    made = Listener()
    with made.socket:
        yield made


class Escape:
    """An object whose pickle writes a file when it is read."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[Path]]:
        return Path.touch, (self.path,)


# TorchServe


@pytest.mark.parametrize("path", ["/models", "/workflows"])
@pytest.mark.parametrize(
    "url", ["http://{0}/x.mar", "http://{0}/../x.mar", "http://{0}/%2e%2e/x.mar", "file:///../http://{0}/x.mar"]
)
def test_no_client_makes_torchserve_fetch_a_url(server: Server, listener: Listener, path: str, url: str) -> None:
    address = url.format(f"127.0.0.1:{listener.port}")
    answer = httpx.post(f"{server.options.url}{path}", params={"url": address}, trust_env=False)
    assert answer.status_code in (404, 405)
    assert listener.count() == 0


@pytest.mark.parametrize("url", ["http://{0}/x.mar", "http://{0}/../x.mar", "http://{0}/%2e%2e/x.mar"])
def test_not_even_who_has_torchserves_token_makes_it_fetch_a_model(
    server: Server, listener: Listener, url: str
) -> None:
    private = server.run / "private"
    token = json.loads((private / "cwd" / "key_file.json").read_bytes())["management"]["key"]
    address = url.format(f"127.0.0.1:{listener.port}")
    with closing(UnixConnection(private / "management.sock", 20)) as connection:
        headers = {"Authorization": f"Bearer {token}"}
        connection.request("POST", f"/models?url={address}&model_name=other", headers=headers)
        assert connection.getresponse().status in (400, 403, 404, 405)
    assert listener.count() == 0


def test_no_port_is_open_to_others_but_the_gateways_three(server: Server) -> None:
    """This server listens on 127.0.0.1, so nothing of it may listen elsewhere, as TorchServe's gRPC did."""
    ports = server.options.ports
    listening = {
        (connection.laddr.ip.removeprefix("::ffff:"), connection.laddr.port)
        for process in [psutil.Process(), *psutil.Process().children(recursive=True)]
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    }
    assert {("127.0.0.1", port) for port in (ports.rest, ports.grpc, ports.metrics)} <= listening
    assert {ip for ip, _ in listening} == {"127.0.0.1"}


def test_the_yaml_and_the_log_library_of_torchserve_are_past_their_remote_code_execution() -> None:
    spec = find_spec("ts")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    jar = Path(spec.submodule_search_locations[0]) / "frontend" / "model-server.jar"
    with zipfile.ZipFile(jar) as archive:
        # SnakeYAML 2.0 makes no class that a document names, unless it is told to trust it.
        archive.getinfo("org/yaml/snakeyaml/inspector/UnTrustedTagInspector.class")
        # Log4j 2.17 looks up no names over JNDI, unless this property says so.
        assert b"log4j2.enableJndi" in archive.read("org/apache/logging/log4j/core/net/JndiManager.class")


def test_a_header_that_names_a_server_is_not_looked_up(server: Server, listener: Listener) -> None:
    lookup = f"${{jndi:ldap://127.0.0.1:{listener.port}/x}}"
    for name in ("User-Agent", "X-Request-Id", "Content-Type", "Referer"):
        httpx.post(f"{server.options.url}{PATH}", content=b"no picture", headers={name: lookup}, trust_env=False)
    httpx.get(f"{server.options.url}/{lookup}", trust_env=False)
    assert listener.count() == 0


# Triton


@pytest.mark.parametrize("path", [PATH, V2, "/v2/repository/index"])
def test_half_a_million_chunks_of_one_byte_end_no_server(server: Server, path: str) -> None:
    """CVE-2025-23310 and CVE-2025-23311: 3 MB of such chunks overflowed the stack."""
    body = b"1\r\nA\r\n" * 500_000 + b"0\r\n\r\n"
    request = post(b"Transfer-Encoding: chunked\r\n", body).replace(PATH.encode(), path.encode(), 1)
    before = server.torchserve.pid if server.torchserve else None
    (status, _), *_ = exchange(server.options.ports.rest, request + LAST)
    assert status == (404 if path.endswith("index") else 400 if path == V2 else 415)
    assert (
        httpx.post(f"{server.options.url}{PATH}", content=zoo.CAT.read_bytes(), trust_env=False).json()["label"]
        == "cat"
    )
    assert server.torchserve is not None
    assert server.torchserve.pid == before


@pytest.mark.parametrize(
    "path",
    [
        "/v2/repository/index",
        "/v2/repository/models/catsdogs/load",
        "/v2/repository/models/catsdogs/unload",
        "/v2/systemsharedmemory/status",
        "/v2/systemsharedmemory/region/x/register",
        "/v2/cudasharedmemory/region/x/register",
        "/v2/logging",
        "/v2/trace/setting",
        "/v2/models/catsdogs/trace/setting",
        "/v2/models/catsdogs/config",
    ],
)
def test_there_is_no_shared_memory_no_model_control_and_no_setting(server: Server, path: str) -> None:
    """CVE-2025-23319, -23320 and -23334, CVE-2024-0087 and CVE-2024-0088, CVE-2023-31036."""
    for method in ("GET", "POST"):
        answer = httpx.request(method, f"{server.options.url}{path}", json={"log_file": "/tmp/x"}, trust_env=False)
        assert answer.status_code == 404


@pytest.mark.parametrize(
    "method",
    ["SystemSharedMemoryRegister", "SystemSharedMemoryStatus", "RepositoryModelLoad", "LogSettings", "TraceSetting"],
)
def test_grpc_has_none_of_them_either(server: Server, method: str) -> None:
    target = f"127.0.0.1:{server.options.ports.grpc}"
    with grpc.insecure_channel(target) as channel, pytest.raises(grpc.RpcError) as refusal:
        channel.unary_unary(f"/inference.GRPCInferenceService/{method}")(b"", timeout=30)
    assert refusal.value.code() == grpc.StatusCode.UNIMPLEMENTED


def test_a_tensor_in_shared_memory_is_refused(server: Server) -> None:
    parameters = {"shared_memory_region": "triton_python_backend_shm_region_1", "shared_memory_byte_size": 64}
    tensor = {"name": "image", "shape": [1], "datatype": "BYTES", "parameters": parameters}
    answer = httpx.post(f"{server.options.url}{V2}", json={"inputs": [tensor]}, trust_env=False)
    assert answer.status_code == 400


def test_no_answer_names_a_file_or_a_socket_of_the_server(server: Server) -> None:
    """CVE-2025-23320: an error message gave away the name of the internal shared memory."""
    answers = []
    with httpx.Client(base_url=server.options.url, trust_env=False, timeout=60) as client:
        for method, path, body, headers in bad():
            answer = client.request(method, path, content=body, headers=dict(headers))
            answers.append(answer.text + json.dumps(dict(answer.headers)))
    assert len(answers) > 80
    for secret in (str(server.run), ".sock", "/dev/shm", "site-packages", "Traceback", ".py"):
        assert [text for text in answers if secret in text] == []


# Pickles from the network, and addresses in requests


@pytest.mark.parametrize(
    "kind",
    ["application/vnd.bentoml+pickle", "application/x-pickle", "application/octet-stream", "application/python-pickle"],
)
def test_a_pickle_from_the_network_is_never_read(server: Server, tmp_path: Path, kind: str) -> None:
    """ShadowMQ, and CVE-2025-27520 and CVE-2024-2912 of BentoML."""
    data, escaped = pickle.dumps(Escape(tmp_path / "escaped")), tmp_path / "escaped"
    encoded = base64.b64encode(data).decode()
    tensor = {"name": "image", "shape": [1], "datatype": "BYTES", "data": [encoded]}
    with httpx.Client(
        base_url=server.options.url, trust_env=False, timeout=30, headers={"Content-Type": kind}
    ) as client:
        assert client.post(PATH, content=data, headers={"Payload-Container": "NdarrayContainer"}).status_code == 415
        assert client.post(V1, content=json.dumps({"instances": [{"b64": encoded}]})).status_code == 415
        assert client.post(V2, content=json.dumps({"inputs": [tensor]})).status_code == 415
    assert not escaped.exists()
    pickle.loads(data)
    assert escaped.exists(), "the attack works on whoever reads it"


@pytest.mark.parametrize("name", ["url", "image_url", "b64", "uri", "image"])
def test_no_address_in_a_request_is_fetched(server: Server, listener: Listener, name: str) -> None:
    """CVE-2026-24779 of vLLM, and others that fetch pictures for their clients."""
    address = f"http://127.0.0.1:{listener.port}/cat.jpg"
    statuses = [
        httpx.post(f"{server.options.url}{V1}", json={"instances": [{name: address}]}, trust_env=False).status_code,
        httpx.post(f"{server.options.url}{PATH}", content=address.encode(), trust_env=False).status_code,
        httpx.post(f"{server.options.url}{PATH}", params={name: address}, content=b"x", trust_env=False).status_code,
    ]
    assert set(statuses) <= {400, 415}
    assert listener.count() == 0


def test_the_listener_counts_who_connects(listener: Listener) -> None:
    for expected in (2, 0):
        for _ in range(expected):
            socket.create_connection(("127.0.0.1", listener.port)).close()
        assert listener.count() == expected
