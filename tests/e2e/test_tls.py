"""TLS at the gateway: who is spoken to and how, and certificates that are replaced while clients notice nothing."""

import http.client
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import httpx
import psutil
import pytest

from common.ports import free_ports
from serving.gateway.tls import Pair, fingerprint, trusting
from serving.server.launch import Server
from tests import zoo
from tests.certificates import NAME, make_authority, make_pair
from tests.e2e.support import PATH, start, wait_for
from tests.e2e.test_halves import Pod
from tests.e2e.test_start import refusal

NO_RETRIES = ("grpc.enable_retries", 0)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def pair(authority: Path, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return Pair(*make_pair(authority, tmp_path_factory.mktemp("pair")))


@pytest.fixture(scope="module")
def encrypted(archive: Path, pair: Pair) -> Iterator[Server]:
    with start(archive, workers=1, tls=pair) as running:
        yield running


def said_by_tls(port: int, context: ssl.SSLContext) -> str | None:
    """The version that is spoken."""
    plain = socket.create_connection(("127.0.0.1", port), 10)
    with plain, context.wrap_socket(plain, server_hostname=NAME) as encrypted:
        return encrypted.version()


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_rest_and_grpc_speak_it_from_version_1_2_on(
    encrypted: Server, authority: Path, version: ssl.TLSVersion
) -> None:
    context = trusting(authority)
    context.minimum_version = context.maximum_version = version
    for port in (encrypted.options.ports.rest, encrypted.options.ports.grpc):
        assert said_by_tls(port, context) == version.name.replace("_", ".")


def test_older_versions_are_refused(encrypted: Server, authority: Path) -> None:
    for port in (encrypted.options.ports.rest, encrypted.options.ports.grpc):
        # This machine's own library would not offer it otherwise, and the refusal would be its own.
        options = ["-connect", f"127.0.0.1:{port}", "-tls1_1", "-cipher", "ALL:@SECLEVEL=0"]
        done = subprocess.run(["openssl", "s_client", *options], input="", capture_output=True, text=True)
        assert "alert protocol version" in done.stderr


@pytest.mark.parametrize("http2", [False, True])
def test_a_picture_is_answered_over_both_versions_of_http(encrypted: Server, authority: Path, http2: bool) -> None:
    url = f"https://{NAME}:{encrypted.options.ports.rest}{PATH}"
    with httpx.Client(verify=trusting(authority), http2=http2, http1=not http2, trust_env=False, timeout=30) as client:
        here = url.replace(NAME, "127.0.0.1")
        answer = client.post(here, content=zoo.CAT.read_bytes(), extensions={"sni_hostname": NAME})
    assert answer.json()["label"] == "cat"
    assert answer.http_version == ("HTTP/2" if http2 else "HTTP/1.1")


def test_a_picture_is_answered_by_grpc(encrypted: Server, authority: Path, stubs: Any) -> None:
    with channel(encrypted.options.ports.grpc, authority) as made:
        assert label_by_grpc(made, stubs) == "cat"


def channel(port: int, authority: Path) -> grpc.Channel:
    credentials = grpc.ssl_channel_credentials(authority.read_bytes())
    return grpc.secure_channel(f"localhost:{port}", credentials, [NO_RETRIES])


def label_by_grpc(made: grpc.Channel, stubs: Any) -> str:
    messages, services = stubs
    message = messages.PredictionsRequest(model_name="catsdogs", input={"data": zoo.CAT.read_bytes()})
    answer = services.InferenceAPIsServiceStub(made).Predictions(message, timeout=30)
    return str(json.loads(answer.prediction)["label"])


def test_predict_asks_a_server_whose_authority_it_is_told(encrypted: Server, authority: Path) -> None:
    url = f"https://localhost:{encrypted.options.ports.rest}"
    command = [sys.executable, "-m", "catsdogs", "predict", str(zoo.CAT), "--json", "--url", url]
    predicted = subprocess.run([*command, "--ca", str(authority)], cwd=zoo.ROOT, capture_output=True, text=True)
    assert (predicted.returncode, json.loads(predicted.stdout)["label"]) == (0, "cat")
    untold = subprocess.run(command, cwd=zoo.ROOT, capture_output=True, text=True)
    assert (untold.returncode, "CERTIFICATE_VERIFY_FAILED" in untold.stderr) == (2, True)


def test_a_client_that_names_no_host_is_answered_too(encrypted: Server, authority: Path) -> None:
    """The kubelet is such a client: it asks an address."""
    url = f"https://127.0.0.1:{encrypted.options.ports.rest}/readyz"
    assert httpx.get(url, verify=trusting(authority), trust_env=False).status_code == 200


def test_plain_http_is_refused_but_for_the_metrics(encrypted: Server) -> None:
    ports = encrypted.options.ports
    assert httpx.get(f"http://127.0.0.1:{ports.rest}/readyz", trust_env=False).status_code == 400
    assert httpx.get(f"http://127.0.0.1:{ports.metrics}/metrics", trust_env=False).status_code == 200


def test_the_certificate_can_be_replaced_under_serve_too(encrypted: Server, pair: Pair, authority: Path) -> None:
    before = served(encrypted.options.ports.rest)
    assert before == fingerprint(pair.read())
    make_pair(authority, pair.certificate.parent)
    assert before != served(encrypted.options.ports.rest) == fingerprint(pair.read())


def served(port: int) -> str:
    """The fingerprint of the certificate that a new client is shown."""
    return fingerprint(ssl.get_server_certificate(("127.0.0.1", port), timeout=10).encode())


def test_what_cannot_be_served_is_one_sentence(archive: Path, pair: Pair, authority: Path, tmp_path: Path) -> None:
    certificate, key = str(pair.certificate), str(pair.key)
    assert "--tls-cert and --tls-key go together" in refusal(str(archive), "--tls-cert", certificate)
    assert f"{tmp_path / 'none'} cannot be read" in refusal(
        "--tls-cert", certificate, "--tls-key", str(tmp_path / "none")
    )
    other = str(make_pair(authority, tmp_path)[1])
    assert "is not that of the certificate in" in refusal("--tls-cert", certificate, "--tls-key", other)
    for arguments, sentence in (
        (("--tls-cert", certificate), "go together"),
        (("--tls-cert", str(tmp_path / "none"), "--tls-key", key), "cannot be read: No such file"),
        (("--tls-cert", certificate, "--tls-key", other), "is not that of the certificate in"),
    ):
        command = [sys.executable, "-m", "catsdogs", "gateway", "--run", str(tmp_path), *arguments]
        done = subprocess.run(command, cwd=zoo.ROOT, capture_output=True, text=True, timeout=60)
        assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
        assert sentence in done.stderr


@dataclass
class Secret:
    """A folder as the kubelet keeps one for a Secret: what is in it changes as a whole, by a link that is renamed."""

    folder: Path
    authority: Path
    count: int = 0

    def __post_init__(self) -> None:
        self.folder.mkdir()
        self.replace()
        for name in ("tls.crt", "tls.key"):
            (self.folder / name).symlink_to(Path("..data") / name)

    def replace(self) -> str:
        """Gives the fingerprint of the new certificate."""
        self.count += 1
        made = self.folder / f"..{self.count}"
        pair = Pair(*make_pair(self.authority, made))
        link = self.folder / "..data_tmp"
        link.symlink_to(made.name)
        link.rename(self.folder / "..data")
        shutil.rmtree(self.folder / f"..{self.count - 1}", ignore_errors=True)
        return fingerprint(pair.read())

    @property
    def arguments(self) -> list[str]:
        return ["--tls-cert", str(self.folder / "tls.crt"), "--tls-key", str(self.folder / "tls.key")]


@pytest.fixture
def secret(tmp_path: Path, authority: Path) -> Secret:
    return Secret(tmp_path / "secret", authority)


@pytest.fixture
def pod(archive: Path, tmp_path: Path) -> Pod:
    run = tmp_path / "run"
    run.mkdir()
    return Pod(run, archive, *free_ports(3), scheme="https")


@contextmanager
def running(pod: Pod, *arguments: str) -> Iterator["subprocess.Popen[str]"]:
    """Both halves, ready; yields the gateway."""
    with pod.torchserve("--workers", "1"), pod.gateway(*arguments) as gateway:
        wait_for(lambda: pod.status() == 200, 90, "ready")
        yield gateway


def test_the_check_passes_where_it_is_told_whom_to_believe(pod: Pod, secret: Secret, authority: Path) -> None:
    with running(pod, *secret.arguments):
        named = pod.check("--ca", str(authority), "--server-name", NAME)
        assert (named.returncode, "FAIL" in named.stdout) == (0, False), named.stdout
        assert "by gRPC" in named.stdout
        assert pod.check("--no-verify").returncode == 0
        assert "CERTIFICATE_VERIFY_FAILED" in pod.check().stdout
        stranger = pod.check("--ca", str(authority), "--server-name", "other.example")
        assert (stranger.returncode, "Hostname mismatch" in stranger.stdout) == (1, True)
        missing = pod.check("--ca", str(authority.with_name("none")))
        assert (missing.returncode, missing.stderr.count("\n")) == (2, 1)
        command = [sys.executable, "-m", "catsdogs", "probe", "ready"]
        variables = {**os.environ, "CATSDOGS_URL": f"https://127.0.0.1:{pod.rest}"}
        assert subprocess.run(command, cwd=zoo.ROOT, env=variables).returncode == 0


@dataclass
class Clients:
    """Clients that try nothing again, each in a thread of its own, and what became of their requests."""

    pod: Pod
    authority: Path
    results: Counter[str] = field(default_factory=Counter)
    stop: threading.Event = field(default_factory=threading.Event)
    leave: threading.Event = field(default_factory=threading.Event)
    """Set when an answer may tell a client to leave."""

    def answered(self) -> int:
        return sum(count for name, count in self.results.items() if name.startswith("answered"))

    def lost(self) -> dict[str, int]:
        return {name: count for name, count in self.results.items() if not name.startswith("answered")}

    def keep_alive(self, pause: float) -> None:
        """One connection for all of its requests."""
        context = trusting(self.authority)
        with closing(
            http.client.HTTPSConnection("localhost", self.pod.rest, timeout=30, context=context)
        ) as connection:
            connection.connect()
            connection.auto_open = 0  # it would hide that its connection was closed
            while not self.stop.wait(pause):
                connection.request("POST", PATH, zoo.CAT.read_bytes())
                response = connection.getresponse()
                response.read()
                self.results[f"answered {response.status} on a connection that was kept"] += 1
                assert response.status == 200
                if response.getheader("Connection") == "close":
                    assert self.leave.is_set(), "told to leave by a gateway that stays"
                    return

    def by_turns(self, path: str) -> None:
        """A new connection for each request, until none is taken any more."""
        context = trusting(self.authority)
        while not self.stop.is_set():
            with closing(
                http.client.HTTPSConnection("localhost", self.pod.rest, timeout=30, context=context)
            ) as connection:
                connection.request("GET", path)
                status = connection.getresponse().status
                if status == 503 and self.leave.is_set():
                    return
                assert status == 200
                self.results[f"answered {path}"] += 1

    def by_grpc(self, stubs: Any) -> None:
        with channel(self.pod.grpc, self.authority) as made:
            while not self.stop.wait(0.02) and not self.leave.is_set():
                assert label_by_grpc(made, stubs) == "cat"
                self.results["answered by gRPC"] += 1

    @contextmanager
    def at_work(self, stubs: Any) -> Iterator[list[threading.Thread]]:
        work: list[tuple[Callable[..., None], Any]] = [(self.keep_alive, pause) for pause in (0.0, 0.0, 0.05, 0.5, 2.0)]
        work += [(self.by_turns, path) for path in ("/readyz", "/readyz", "/v1/models")]
        work += [(self.by_grpc, stubs)] * 2
        threads = [threading.Thread(target=self._counted, args=arguments) for arguments in work]
        for thread in threads:
            thread.start()
        try:
            yield threads
        finally:
            self.stop.set()
            for thread in threads:
                thread.join()

    def _counted(self, do: Callable[[Any], None], argument: Any) -> None:
        try:
            do(argument)
        except (OSError, http.client.HTTPException, grpc.RpcError, AssertionError) as error:
            self.results[f"lost by {do.__name__}({argument}): {error!r}"] += 1


def test_ten_certificates_one_after_another_lose_no_request_and_close_no_connection(
    pod: Pod, secret: Secret, authority: Path, stubs: Any
) -> None:
    with running(pod, *secret.arguments, "--drain", "4") as gateway:
        (caddy,) = psutil.Process(gateway.pid).children()
        clients = Clients(pod, authority)
        with clients.at_work(stubs) as threads:
            for _ in range(10):
                before = clients.answered()
                assert served(pod.rest) != (made := secret.replace())
                assert {served(pod.rest), served(pod.grpc)} == {made}
                wait_for(lambda before=before: clients.answered() >= before + 30, 60, "30 answers")  # type: ignore[misc]
                assert not clients.lost()
            # And a gateway that has seen all that still leaves without losing any.
            clients.leave.set()
            gateway.send_signal(signal.SIGTERM)
            for thread in threads:
                thread.join(60)
            assert not [thread for thread in threads if thread.is_alive()]
        assert gateway.wait(60) == 0
        assert not caddy.is_running()
    assert not clients.lost(), clients.results
    assert set(clients.results) == {
        "answered 200 on a connection that was kept",
        "answered /readyz",
        "answered /v1/models",
        "answered by gRPC",
    }


def test_a_pair_that_does_not_fit_is_told_and_the_old_one_served(pod: Pod, secret: Secret, tmp_path: Path) -> None:
    with running(pod, *secret.arguments) as gateway:
        before = served(pod.rest)
        files = secret.folder / f"..{secret.count}"
        (files / "tls.crt").write_bytes(make_pair(secret.authority, tmp_path / "other")[0].read_bytes())
        assert {served(pod.rest), served(pod.grpc)} == {before}
        assert pod.status() == 200
        assert gateway.stderr is not None
        line = gateway.stderr.readline()
        assert line == (
            f"catsdogs: The key in {secret.folder}/tls.key is not that of the certificate in {secret.folder}/tls.crt. "
            f"The last certificate is served on: sha256 {before}.\n"
        )
        assert served(pod.rest) != secret.replace() != before
        assert served(pod.rest) != before


def test_no_key_and_no_password_is_in_a_process_list_or_a_log(
    pod: Pod, secret: Secret, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOG_LEVEL", "DEBUG")
    with pod.gateway(*secret.arguments) as gateway:
        wait_for(lambda: pod.status("/") == 200, 60, "the page")
        (caddy,) = psutil.Process(gateway.pid).children()
        listed = [*caddy.cmdline(), *psutil.Process(gateway.pid).cmdline()]
        password = httpx.URL(caddy.environ()["TLS_PAIR"]).password
        gateway.terminate()
        _, log = gateway.communicate(timeout=60)
        key = (secret.folder / "tls.key").read_text().splitlines()[1]
        assert "externally-managed certificate" in log
        assert len(password) > 22
        for where in (*listed, log):
            assert password not in where
            assert key not in where


def test_a_gateway_whose_caddy_is_killed_ends_with_it(pod: Pod, secret: Secret) -> None:
    with pod.gateway(*secret.arguments) as gateway:
        wait_for(lambda: bool(psutil.Process(gateway.pid).children()), 60, "Caddy runs")
        (caddy,) = psutil.Process(gateway.pid).children()
        os.kill(caddy.pid, signal.SIGKILL)
        assert gateway.wait(30) == 128 + signal.SIGKILL
