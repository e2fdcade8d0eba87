"""Other users of the same machine can do nothing at TorchServe's ports, and nothing in the server's folders."""

import json
import os
import socket
import stat
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import httpx
import psutil
import pytest

from common.ports import free_ports
from serving.health.torchserve_client import UnixConnection, authorization
from serving.server.archive import read_archive
from serving.server.find_java import Java, find_java
from serving.server.java_process import LOG_BURST, LOG_RATE, Frontend
from serving.server.launch import Server
from serving.server.settings import JAVA_MIB, Limits
from serving.server.torchserve import TorchServe
from tests import zoo
from tests.e2e.support import PATH, start, wait_for

INFERENCE = "/org.pytorch.serve.grpc.inference.InferenceAPIsService"
MANAGEMENT = "/org.pytorch.serve.grpc.management.ManagementAPIsService"
METHODS = {
    "inference": [f"{INFERENCE}/{name}" for name in ("Predictions", "StreamPredictions", "StreamPredictions2", "Ping")],
    "management": [
        f"{MANAGEMENT}/{name}"
        for name in ("DescribeModel", "ListModels", "RegisterModel", "ScaleWorker", "SetDefault", "UnregisterModel")
    ],
}


def ports(server: Server) -> dict[str, int]:
    """TorchServe's own, by what they are for."""
    lines = (server.run / "private" / "config.properties").read_text().splitlines()
    properties = dict(line.split("=", 1) for line in lines if "=" in line)
    return {kind: int(properties[f"grpc_{kind}_port"]) for kind in METHODS}


def ask(port: int, method: str, message: bytes = b"", metadata: tuple[tuple[str, str], ...] = ()) -> grpc.StatusCode:
    with grpc.insecure_channel(f"127.0.0.1:{port}", [("grpc.max_send_message_length", -1)]) as channel:
        try:
            channel.unary_unary(method)(message, timeout=30, metadata=metadata)
        except grpc.RpcError as error:
            code = error.code()
            assert isinstance(code, grpc.StatusCode)
            return code
    return grpc.StatusCode.OK


@pytest.fixture(scope="module", params=["without keys", "with keys"])
def shared(request: pytest.FixtureRequest, archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    keys = tmp_path_factory.mktemp("keys") / "keys"
    keys.write_text("k" * 32)
    with start(archive, workers=1, keys=keys if request.param == "with keys" else None) as server:
        yield server


@pytest.mark.parametrize("kind", METHODS)
@pytest.mark.parametrize("token", [None, "Bearer", "Bearer ", "Bearer AAAAAAAA", "Bearer null", "x"])
def test_torchserves_grpc_ports_refuse_a_stranger(shared: Server, kind: str, token: str | None) -> None:
    metadata = () if token is None else (("authorization", token),)
    codes = {method: ask(ports(shared)[kind], method, metadata=metadata) for method in METHODS[kind]}
    assert set(codes.values()) == {grpc.StatusCode.PERMISSION_DENIED}, codes


def test_the_inference_token_is_none_for_management(shared: Server) -> None:
    header = authorization(shared.run)["Authorization"]
    assert ask(ports(shared)["inference"], f"{INFERENCE}/Ping", metadata=(("authorization", header),)) == (
        grpc.StatusCode.OK
    )
    assert ask(ports(shared)["management"], f"{MANAGEMENT}/ListModels", metadata=(("authorization", header),)) == (
        grpc.StatusCode.PERMISSION_DENIED
    )


def test_rest_is_answered_by_torchserve_with_the_token_alone(shared: Server) -> None:
    statuses = []
    for headers in ({}, {"Authorization": "Bearer AAAAAAAA"}, authorization(shared.run)):
        with closing(UnixConnection(shared.run / "inference.sock", 20)) as connection:
            connection.request("GET", "/ping", headers=headers)
            statuses.append(connection.getresponse().status)
    assert statuses == [400, 400, 200]


@pytest.mark.parametrize("kind", METHODS)
def test_a_flood_of_large_and_of_compressed_messages_harms_nobody_else(server: Server, kind: str) -> None:
    """Six senders, of 15 MiB as they are or of 60 MiB of zeros in 61 kB, while a good client has five answers."""
    port, method = ports(server)[kind], METHODS[kind][0]
    java = psutil.Process(server.torchserve.pid if server.torchserve else 0)
    url = f"{server.options.url}{PATH}"
    large, zeros = os.urandom(15 << 20), bytes(60 << 20)
    peak, stop = [0], threading.Event()

    def watch() -> None:
        while not stop.wait(0.05):
            peak[0] = max(peak[0], java.memory_info().rss)

    def flood(number: int) -> set[grpc.StatusCode]:
        codes = set()
        with grpc.insecure_channel(f"127.0.0.1:{port}", [("grpc.max_send_message_length", -1)]) as channel:
            call = channel.unary_unary(method)
            while not stop.is_set():
                try:
                    if number % 2:
                        call(large, timeout=30)
                    else:
                        call(zeros, timeout=30, compression=grpc.Compression.Gzip)
                except grpc.RpcError as error:
                    codes.add(error.code())
        return codes

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        with ThreadPoolExecutor(6) as pool:
            floods = [pool.submit(flood, number) for number in range(6)]
            try:
                for _ in range(5):
                    answer = httpx.post(url, content=zoo.CAT.read_bytes(), trust_env=False, timeout=60)
                    assert answer.json()["label"] == "cat"
            finally:
                stop.set()
    finally:
        stop.set()
        watcher.join()
    # One whose connection is closed while it still sends sees that.
    refusals = {grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED}
    codes = set().union(*(future.result() for future in floods))
    assert grpc.StatusCode.PERMISSION_DENIED in codes
    assert codes <= refusals
    assert peak[0] >> 20 < JAVA_MIB
    assert java.is_running()


def test_what_is_no_grpc_does_not_fill_the_log(archive: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with start(archive, workers=1) as server:
        begun = time.monotonic()
        capfd.readouterr()
        for number in range(300):
            for port in ports(server).values():
                with socket.create_connection(("127.0.0.1", port), 10) as connection:
                    connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" * (number % 2) + os.urandom(200))
            with closing(UnixConnection(server.run / "inference.sock", 20)) as connection:
                connection.connect()
                connection.sock.sendall(
                    b"POST /predictions/catsdogs HTTP/1.1\r\nContent-Length: x\r\n\r\n" + os.urandom(99)
                )
        written = capfd.readouterr().err
        seconds = time.monotonic() - begun
    assert len(written) < LOG_BURST / 4 + LOG_RATE * seconds, written[:3000]


@contextmanager
def umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


def test_folders_and_files_are_closed_to_others_whatever_the_umask(archive: Path) -> None:
    with umask(0), start(archive, workers=1) as server:
        modes = {
            str(path.relative_to(server.run)): stat.S_IMODE(path.lstat().st_mode)
            for path in (server.run, *server.run.rglob("*"))
            if not path.is_symlink()
        }
    assert modes["."] & 0o077 == 0
    sockets = ("inference.sock", "metrics.sock", "probe.sock")
    assert {modes[name] for name in sockets} == {0o660}
    assert modes["inference.key"] == 0o640
    assert modes["private"] == 0o700
    assert modes["private/management.sock"] == 0o600
    for name in ("config.properties", "log4j2.xml", "cwd/key_file.json"):
        assert modes[f"private/{name}"] == 0o600, name
    mine = {name: mode for name, mode in modes.items() if not name.startswith("caddy")}
    assert {name: oct(mode) for name, mode in mine.items() if mode & 0o007} == {}


def test_a_folder_that_two_users_share_is_for_their_group_and_nobody_else(archive: Path, tmp_path: Path) -> None:
    shared = tmp_path / "run"
    shared.mkdir()
    shared.chmod(0o777)
    TorchServe(read_archive(archive), Java(Path("java"), 17), shared, Limits(1), 1, 2).prepare()
    assert stat.S_IMODE(shared.stat().st_mode) == 0o2770
    assert stat.S_IMODE((shared / "model.json").stat().st_mode) == 0o640
    assert json.loads((shared / "model.json").read_bytes())["name"] == "catsdogs"
    assert json.loads((shared / "openapi.json").read_bytes())["openapi"].startswith("3.")


@contextmanager
def alone(archive: Path) -> Iterator[TorchServe]:
    """TorchServe without a gateway, from its very start."""
    port, other = free_ports(2)
    with tempfile.TemporaryDirectory(dir="/tmp") as run:
        half = TorchServe(read_archive(archive), find_java(), Path(run), Limits(1), port, other)
        half.prepare()
        frontend = Frontend(half, print)
        frontend.start()
        try:
            yield half
        finally:
            frontend.stop()


def expiry(run: Path) -> datetime:
    tokens = json.loads((run / "private" / "cwd" / "key_file.json").read_bytes())
    return datetime.fromisoformat(tokens["inference"]["expiration time"][:19]).replace(tzinfo=UTC)


def ping(run: Path) -> int:
    with closing(UnixConnection(run / "inference.sock", 20)) as connection:
        try:
            connection.request("GET", "/ping", headers=authorization(run))
        except FileNotFoundError:
            return 0
        return connection.getresponse().status


def test_the_token_outlives_every_pod(shared: Server) -> None:
    assert expiry(shared.run) - datetime.now(UTC) > timedelta(days=365 * 50)


def test_a_token_whose_time_is_over_is_refused_so_that_its_expiry_is_what_counts(
    archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serving.server.settings.TOKEN_MINUTES", 0.3)
    with alone(archive) as half:
        wait_for(lambda: ping(half.run) == 200, 18, "TorchServe takes the token")
        assert expiry(half.run) - datetime.now(UTC) < timedelta(seconds=18)
        wait_for(lambda: ping(half.run) == 400, 20, "the token's end")
