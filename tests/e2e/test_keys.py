"""Tests of API keys over REST and gRPC. That keys go no further than the gateway is shown in tests/serving."""

import http.client
import secrets
import socket
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from google.protobuf import empty_pb2

from handler.files import write_atomic
from serving.server.launch import Server
from tests import zoo
from tests.e2e.support import PATH, start
from tests.e2e.test_rest import is_problem
from tests.e2e.test_start import refusal

FIRST, SECOND = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
OK, STRANGER = grpc.StatusCode.OK, grpc.StatusCode.UNAUTHENTICATED
ENTRANCES = [
    "/predictions",
    "/predict",
    PATH,
    f"{PATH}/0.0.1",
    "/v1/models/catsdogs:predict",
    "/v2/models/catsdogs/infer",
]


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("keys") / "keys"


@pytest.fixture(scope="module")
def guarded(archive: Path, file: Path) -> Iterator[Server]:
    file.write_text(FIRST)
    with start(archive, workers=1, keys=file) as running:
        yield running


@pytest.fixture(autouse=True)
def two_keys(guarded: Server, file: Path) -> None:
    file.write_text(f"{FIRST}\n\n  {SECOND}\r\n")


Ask = Callable[[str | None], int]


@pytest.fixture(scope="module")
def stranger(guarded: Server) -> Iterator[httpx.Client]:
    """A client without a key."""
    with httpx.Client(base_url=guarded.options.url, timeout=30, trust_env=False) as made:
        yield made


@pytest.fixture
def rest(guarded: Server) -> Ask:
    """Sends a picture with an Authorization header; gives the status."""

    # httpx would not send all that is tried here.
    def ask(authorization: str | None) -> int:
        headers = {} if authorization is None else {"Authorization": authorization}
        with closing(http.client.HTTPConnection("127.0.0.1", guarded.options.ports.rest, timeout=30)) as connection:
            connection.request("POST", PATH, zoo.CAT.read_bytes(), headers)
            return connection.getresponse().status

    return ask


@pytest.fixture
def rpc(guarded: Server, stubs: Any) -> Iterator[Callable[[str | None], grpc.StatusCode]]:
    """The same by gRPC."""
    messages, services = stubs
    message = messages.PredictionsRequest(model_name="catsdogs", input={"data": zoo.CAT.read_bytes()})
    with grpc.insecure_channel(f"127.0.0.1:{guarded.options.ports.grpc}", [("grpc.enable_retries", 0)]) as channel:
        service = services.InferenceAPIsServiceStub(channel)

        def ask(authorization: str | None) -> grpc.StatusCode:
            metadata = [] if authorization is None else [("authorization", authorization)]
            try:
                service.Predictions(message, timeout=20, metadata=metadata)
            except grpc.RpcError as error:
                return error.code()
            return OK

        yield ask


def test_each_of_two_keys_opens_both_doors(rest: Ask, rpc: Callable[[str | None], grpc.StatusCode]) -> None:
    for key in (FIRST, SECOND):
        assert rest(f"Bearer {key}") == 200
        assert rpc(f"Bearer {key}") == OK


@pytest.mark.parametrize("scheme", ["bearer", "BEARER", "bEARER"])
def test_the_word_before_the_key_may_be_written_in_any_case(
    rest: Ask, rpc: Callable[[str | None], grpc.StatusCode], scheme: str
) -> None:
    assert rest(f"{scheme} {SECOND}") == 200
    assert rpc(f"{scheme} {SECOND}") == OK


@pytest.mark.parametrize(
    "sent",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        FIRST,
        f"Basic {FIRST}",
        f"bearer {FIRST.swapcase()}",
        f"bearer{FIRST}",
        f"Bearers {FIRST}",
        f"Bearer  {FIRST}",
        f"Bearer {FIRST[:-1]}",
        f"Bearer {FIRST[:22]}",
        f"Bearer {FIRST[1:]}",
        f"Bearer {FIRST}x",
        f"Bearer {FIRST.swapcase()}",
        f"Bearer {FIRST}{SECOND}",
        f"Bearer {FIRST},{SECOND}",
        f"Bearer {FIRST}, Bearer {SECOND}",
        f"Bearer {secrets.token_urlsafe(32)}",
        f"Bearer {'.' * 43}",
        "Bearer {env.KEYS}",
        "Bearer {http.vars.keys}",
    ],
)
def test_anything_else_opens_neither(rest: Ask, rpc: Callable[[str | None], grpc.StatusCode], sent: str | None) -> None:
    assert rest(sent) == 401
    assert rpc(sent) == STRANGER


def test_two_headers_are_no_key_even_if_both_are_right(stranger: httpx.Client) -> None:
    both = [("Authorization", f"Bearer {FIRST}"), ("Authorization", f"Bearer {SECOND}")]
    assert stranger.post(PATH, content=b"x", headers=both).status_code == 401


@pytest.mark.parametrize("path", ENTRANCES)
@pytest.mark.parametrize("method", ["POST", "PUT", "GET", "OPTIONS"])
def test_a_stranger_is_told_so_at_every_entrance(stranger: httpx.Client, path: str, method: str) -> None:
    response = stranger.request(method, path)
    assert response.headers["www-authenticate"] == "Bearer"
    assert is_problem(response, 401, "unauthorized")


def test_a_strangers_picture_is_not_waited_for(guarded: Server) -> None:
    """The answer comes after the head of a request whose body never does."""
    head = f"POST {PATH} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10000000\r\n\r\n".encode()
    with socket.create_connection(("127.0.0.1", guarded.options.ports.rest), timeout=5) as connection:
        connection.sendall(head)
        assert connection.recv(100).startswith(b"HTTP/1.1 401 ")


@pytest.mark.parametrize(
    "path",
    ["/", "/page.js", "/docs", "/openapi.json", "/readyz", "/livez", "/ping", "/v1/models", "/v2/models/catsdogs"],
)
def test_the_page_and_questions_about_the_server_are_open_to_all(stranger: httpx.Client, path: str) -> None:
    assert stranger.get(path).status_code == 200


def test_ping_by_grpc_is_open_to_all(guarded: Server, stubs: Any) -> None:
    _, services = stubs
    with grpc.insecure_channel(f"127.0.0.1:{guarded.options.ports.grpc}") as channel:
        health = services.InferenceAPIsServiceStub(channel).Ping(empty_pb2.Empty(), timeout=20).health
    assert "Healthy" in health


def test_keys_are_rotated_without_a_restart(
    rest: Ask, rpc: Callable[[str | None], grpc.StatusCode], file: Path
) -> None:
    third = secrets.token_urlsafe(32)
    write_atomic(file, f"{SECOND}\n{third}\n".encode())
    assert [rest(f"Bearer {key}") for key in (FIRST, SECOND, third)] == [401, 200, 200]
    assert [rpc(f"Bearer {key}") for key in (FIRST, SECOND, third)] == [STRANGER, OK, OK]


def test_a_key_that_could_be_guessed_opens_nothing(
    rest: Ask, rpc: Callable[[str | None], grpc.StatusCode], file: Path
) -> None:
    short, long_enough = "k" * 21, "k" * 22
    file.write_text(f"{short}\n{long_enough}\n")
    assert [rest(f"Bearer {key}") for key in (short, long_enough)] == [401, 200]
    assert [rpc(f"Bearer {key}") for key in (short, long_enough)] == [STRANGER, OK]


@pytest.mark.parametrize("left", ["", "\n", "\n\n  \n", "#", None])
def test_without_a_key_in_the_file_nobody_gets_in(
    rest: Ask, rpc: Callable[[str | None], grpc.StatusCode], file: Path, left: str | None
) -> None:
    assert rest(f"Bearer {FIRST}") == 200
    if left is None:
        file.unlink()
    else:
        file.write_text(left)
    for sent in (None, "", "Bearer", "Bearer ", f"Bearer {FIRST}", f"Bearer {left}", "Bearer None"):
        if sent is None or "\n" not in sent:
            assert rest(sent) == 401
            assert rpc(sent) == STRANGER


def test_a_folder_in_the_files_place_admits_nobody_and_the_file_put_back_everybody(
    rest: Ask, rpc: Callable[[str | None], grpc.StatusCode], file: Path
) -> None:
    file.unlink()
    file.mkdir()
    assert rest(f"Bearer {FIRST}") == 401
    assert rpc(f"Bearer {FIRST}") == STRANGER
    file.rmdir()
    file.write_text(FIRST)
    assert rest(f"Bearer {FIRST}") == 200
    assert rpc(f"Bearer {FIRST}") == OK


def test_a_server_does_not_start_on_keys_that_are_none(archive: Path, tmp_path: Path) -> None:
    assert "cannot be read" in refusal(str(archive), "--keys", str(tmp_path / "none"))
    (tmp_path / "empty").touch()
    assert "holds no key" in refusal(str(archive), "--keys", str(tmp_path / "empty"))
    (tmp_path / "short").write_text("secret")
    message = refusal(str(archive), "--keys", str(tmp_path / "short"))
    assert "Line 1 of" in message


def test_no_key_is_in_what_the_server_logs(
    archive: Path, file: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOG_LEVEL", "DEBUG")
    wrong = secrets.token_urlsafe(32)
    with start(archive, workers=1, keys=file, verbose=True) as server:
        url = f"{server.options.url}{PATH}"
        statuses = [
            httpx.post(
                url,
                content=zoo.CAT.read_bytes(),
                headers={"Authorization": f"Bearer {key}", "X-Request-Id": "in-the-log-0001"},
                trust_env=False,
                timeout=30,
            ).status_code
            for key in (FIRST, wrong)
        ]
        commands = "\0".join(
            (Path("/proc") / str(child.pid) / name).read_text()
            for child in (server.torchserve, server.gateway)
            if child is not None
            for name in ("cmdline", "environ")
        )
    captured = capfd.readouterr()
    log = captured.out + captured.err
    assert statuses == [200, 401]
    assert "in-the-log-0001" in log
    for key in (FIRST, SECOND, wrong):
        assert key not in log
        assert key not in commands
