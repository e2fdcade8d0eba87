"""The start and stop of a server that is compared, on free ports of this machine."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path

import psutil

from common.ports import free_ports
from handler.files import UserError
from loadtest.generate.clients import Address, Http, Wrong
from loadtest.generate.pictures import Picture
from loadtest.rivals.peers import WORKERS, Peer, Places
from serving.server.find_java import find_java

PORTS = 5
# Variables that would change a server. Without bytecode, a worker of stock TorchServe computes 12 s before it is ready.
CHANGES = ("OMP_", "MKL_", "TS_", "PYTHONDONTWRITEBYTECODE")
ROOT = Path(__file__).resolve().parents[2]
START_S = 180
STOP_S = 30
MIB = 2**20


@dataclass(frozen=True, slots=True)
class Server:
    peer: Peer
    process: "subprocess.Popen[bytes]"
    address: Address
    start_s: float
    """Seconds from its start to its first answer."""

    def client(self) -> Http:
        return self.peer.client(self.address)

    def memory_mib(self) -> float:
        """The memory of all its processes; what several share is counted once."""
        total = 0
        leader = psutil.Process(self.process.pid)
        for process in (leader, *leader.children(recursive=True)):
            with suppress(psutil.Error):
                total += process.memory_full_info().pss
        return total / MIB


@contextmanager
def serving(peer: Peer, places: Places, picture: Picture) -> Iterator[Server]:
    """Start a server, yield it once it has answered, and stop it.

    Raises:
        UserError: it did not start.
    """
    ports = free_ports(PORTS)
    scratch = places.scratch
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(CHANGES)}
    java = find_java().path.parent
    environment = {
        **inherited,
        "RIVAL_FOLDER": str(places.unpacked),
        "RIVAL_WORKERS": str(WORKERS),
        # The servers on request import this package from the checkout.
        "PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT), inherited.get("PYTHONPATH")))),
        "JAVA_HOME": str(java.parent),
        "LOG_LOCATION": str(scratch),
        "METRICS_LOCATION": str(scratch),
        "TMPDIR": str(scratch),
        # TorchServe starts its workers by the `python` it finds.
        "PATH": f"{places.theirs / 'bin'}{os.pathsep}{java}{os.pathsep}{inherited['PATH']}",
        **peer.environment,
    }
    address = Address(url=f"http://127.0.0.1:{ports[0]}", grpc="", model="catsdogs")
    log = scratch / "server.log"
    with log.open("wb") as output:
        begin = time.perf_counter()
        command = peer.start(places, ports)
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=output, start_new_session=True)
        try:
            wait_until_ready(peer.client(address), picture, process, log)
            yield Server(peer, process, address, time.perf_counter() - begin)
        finally:
            stop(process)


def wait_until_ready(client: Http, picture: Picture, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            client.ask(picture)
            client.close()
            return
        except (Wrong, OSError, HTTPException):
            time.sleep(0.05)
    raise UserError(f"{' '.join(process.args)} did not start:\n{log.read_text(errors='replace')[-2000:]}")  # type: ignore[arg-type]


def stop(process: "subprocess.Popen[bytes]") -> None:
    """End the server and its whole session, since TorchServe's launcher leaves its Java behind."""
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(STOP_S)
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            return
        time.sleep(2)
    process.wait(STOP_S)
