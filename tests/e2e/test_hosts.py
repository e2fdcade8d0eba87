"""A web page can give its own name this machine's address (DNS rebinding): the name in Host is what gives it away."""

import socket
from typing import Any

import grpc
import httpx
import pytest

from serving.server.launch import Server
from tests import zoo
from tests.e2e.support import PATH, start

ELSEWHERE = ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example", "1.2.3.4.nip.io", "evil.example:8080"]


@pytest.mark.parametrize("host", ELSEWHERE)
@pytest.mark.parametrize("path", ["/", "/readyz", "/openapi.json", PATH, "/nowhere"])
def test_another_host_is_refused_on_every_path(client: httpx.Client, host: str, path: str) -> None:
    answer = client.request("POST" if path == PATH else "GET", path, headers={"Host": host})
    assert (answer.status_code, answer.json()["code"]) == (421, "wrong_host")


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8080", "127.0.0.1", "192.0.2.7:80", "[::1]:80", "[fe80::1]"])
def test_addresses_and_localhost_are_accepted(client: httpx.Client, host: str) -> None:
    assert client.get("/readyz", headers={"Host": host}).status_code == 200


def test_this_machines_own_name_is_accepted(client: httpx.Client) -> None:
    assert client.get("/readyz", headers={"Host": socket.gethostname()}).status_code == 200


@pytest.mark.parametrize(
    ("authority", "accepted"), [("evil.example", False), ("localhost", True), ("[::1]:7070", True)]
)
def test_a_grpc_call_names_its_host_by_its_authority(
    server: Server, stubs: Any, authority: str, accepted: bool
) -> None:
    messages, services = stubs
    message = messages.PredictionsRequest(model_name="catsdogs", input={"data": zoo.CAT.read_bytes()})
    options = [("grpc.default_authority", authority)]
    with grpc.insecure_channel(f"127.0.0.1:{server.options.ports.grpc}", options) as channel:
        service = services.InferenceAPIsServiceStub(channel)
        if accepted:
            assert service.Predictions(message, timeout=20).prediction
            return
        with pytest.raises(grpc.RpcError) as raised:
            service.Predictions(message, timeout=20)
    assert raised.value.code() == grpc.StatusCode.PERMISSION_DENIED


def test_a_name_that_is_allowed_is_accepted(archive: Any) -> None:
    with start(archive, workers=1, allowed_hosts=("pets.example.org", "*.example.net")) as server:
        for host in ("pets.example.org", "a.example.net", "localhost"):
            assert httpx.get(f"{server.options.url}/readyz", headers={"Host": host}, trust_env=False).status_code == 200
        answer = httpx.get(f"{server.options.url}/readyz", headers={"Host": "a.example.org"}, trust_env=False)
        assert answer.status_code == 421
