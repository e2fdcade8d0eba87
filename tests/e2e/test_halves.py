"""The two halves of the server as two containers of a pod run them: processes of their own that share a folder."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import KW_ONLY, dataclass
from pathlib import Path

import httpx
import psutil
import pytest

from common.ports import free_ports
from serving.gateway.tls import trusting
from tests import zoo
from tests.e2e.support import wait_for


@dataclass
class Pod:
    """Both halves of a server as a pod runs them: the folder that they share, and the ports."""

    run: Path
    archive: Path
    rest: int
    grpc: int
    metrics: int
    _: KW_ONLY
    scheme: str = "http"

    @contextmanager
    def torchserve(self, *arguments: str) -> Iterator["subprocess.Popen[str]"]:
        with self._started("torchserve", str(self.archive), *arguments) as child:
            yield child

    @contextmanager
    def gateway(self, *arguments: str) -> Iterator["subprocess.Popen[str]"]:
        ports = ["--port", str(self.rest), "--grpc-port", str(self.grpc), "--metrics-port", str(self.metrics)]
        with self._started("gateway", *ports, "--host", "127.0.0.1", *arguments) as child:
            yield child

    @contextmanager
    def _started(self, verb: str, *arguments: str) -> Iterator["subprocess.Popen[str]"]:
        command = [sys.executable, "-m", "catsdogs", verb, *arguments, "--run", str(self.run)]
        child = subprocess.Popen(command, cwd=zoo.ROOT, stderr=subprocess.PIPE, text=True)
        try:
            yield child
        finally:
            left = psutil.Process(child.pid).children(recursive=True) if child.poll() is None else []
            child.kill()
            for process in left:
                with suppress(psutil.NoSuchProcess):  # its parent's end may have ended it
                    process.kill()
            child.communicate()

    def probe(self, question: str) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-m", "catsdogs", "probe", question, "--run", str(self.run)]
        return subprocess.run(command, cwd=zoo.ROOT, capture_output=True, text=True)

    def status(self, path: str = "/readyz") -> int:
        try:
            url = f"{self.scheme}://127.0.0.1:{self.rest}{path}"
            return httpx.get(url, trust_env=False, timeout=10, verify=trusting(None)).status_code
        except httpx.TransportError:
            return 0

    def check(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        addresses = ["--url", f"{self.scheme}://127.0.0.1:{self.rest}", "--grpc", f"127.0.0.1:{self.grpc}"]
        addresses += ["--metrics", f"http://127.0.0.1:{self.metrics}/metrics"]
        command = [sys.executable, "-m", "catsdogs", "check", *addresses, *arguments]
        return subprocess.run(command, cwd=zoo.ROOT, capture_output=True, text=True)


@pytest.fixture
def pod(archive: Path, tmp_path: Path) -> Pod:
    return Pod(tmp_path, archive, *free_ports(3))


def test_together_they_pass_the_check_and_stop_in_order(pod: Pod) -> None:
    own = pod.run / "own"
    own.mkdir()
    with ExitStack() as stack:
        torchserve = stack.enter_context(pod.torchserve("--workers", "1", "--private", str(own)))
        wait_for(lambda: pod.probe("startup").returncode == 0, 60, "the first worker")
        gateway = stack.enter_context(pod.gateway("--drain", "0.5"))
        wait_for(lambda: pod.status() == 200, 20, "the gateway")
        done = pod.check()
        lines = done.stdout.splitlines()
        assert (done.returncode, [line for line in lines if not line.startswith("ok  ")]) == (0, [])
        samples = len(list(zoo.SAMPLES.rglob("*.jpg")))
        assert len([line for line in lines if "golden" in line]) == 4
        assert len(lines) == 2 + 4 + 4 * samples
        family = psutil.Process(torchserve.pid).children(recursive=True)
        assert (own / "management.sock").is_socket()
        assert not (pod.run / "private").exists(), "whoever may write to the shared folder could exchange it"
        named = httpx.get(f"http://127.0.0.1:{pod.rest}/readyz", headers={"Host": "catsdogs.pets.svc"}, trust_env=False)
        assert named.status_code == 200, "no host is refused where none is named"
        gateway.terminate()
        assert gateway.wait(30) == 0
        torchserve.terminate()
        assert torchserve.wait(30) == 0
        assert not [process for process in family if process.is_running() and process.status() != "zombie"]
        assert pod.probe("ready").returncode == 1


def test_what_is_wrong_with_an_answer_is_said_by_the_check(pod: Pod) -> None:
    done = pod.check()
    assert done.returncode == 1
    assert done.stdout.startswith("FAIL  it is ready: ")
    assert len(done.stdout.splitlines()) == 1


def test_torchserve_may_die_and_come_back_behind_a_gateway_that_stays(pod: Pod) -> None:
    with ExitStack() as stack:
        first = stack.enter_context(pod.torchserve("--workers", "1"))
        wait_for(lambda: pod.probe("startup").returncode == 0, 60, "the first worker")
        gateway = stack.enter_context(pod.gateway())
        wait_for(lambda: pod.status() == 200, 20, "the gateway")
        (java,) = [child for child in psutil.Process(first.pid).children() if "java" in child.name()]
        java.send_signal(signal.SIGKILL)
        assert first.wait(30) == 2
        assert first.stderr is not None
        assert "catsdogs: TorchServe ended unexpectedly by signal 9 (SIGKILL)." in first.stderr.read()
        assert pod.status() == 503
        assert pod.status("/predictions") in (404, 405)  # it is the gateway that answers
        stack.enter_context(pod.torchserve("--workers", "1"))
        wait_for(lambda: pod.status() == 200, 60, "the second life of TorchServe")
        assert pod.check().returncode == 0
        assert gateway.poll() is None


def test_a_folder_that_is_not_there_is_one_sentence(pod: Pod) -> None:
    pod.run = pod.run / "none"
    with pod.torchserve() as child:
        assert child.wait(30) == 2
        assert child.stderr is not None
        assert (
            child.stderr.read()
            == f"catsdogs: There is no folder {pod.run}. Mount one there, or name another by --run.\n"
        )
