"""The servers that are compared: how each is started, asked and stopped, on free ports of this machine."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path
from typing import Any

import psutil

from common.ports import free_ports
from handler.files import UserError
from loadtest.generate.clients import Address, Http, Wrong
from loadtest.generate.pictures import Picture
from serving.server.find_java import find_java

WORKERS = 2
START_S = 180
STOP_S = 30
MIB = 2**20


@dataclass(frozen=True, slots=True)
class Places:
    """The environments and folders that the servers need."""

    ours: Path
    """The environment of the shipped server."""
    theirs: Path
    """The environment of the others: torch, torchvision, captum, FastAPI."""
    release: Path
    archive: Path
    """The archive that the shipped server serves."""
    scratch: Path
    """A folder with the archive for stock TorchServe; the servers write there too."""


class Scores(Http):
    """A client of stock TorchServe, which answers a share by class and nothing else."""

    def read(self, document: Any) -> Any:
        best = max(document, key=document.get)
        return {"label": best, "probability": document[best], "probabilities": document}


class OneRequestPerConnection(Http):
    """A client of uvicorn: its processes do not share connections that are kept, and one would starve."""

    def __init__(self, address: Address) -> None:
        super().__init__(address)
        self.headers["Connection"] = "close"


Start = Callable[[Places, Sequence[int]], list[str]]
"""A function that returns the command of a server that answers on the first of these ports; it may use the others."""
PORTS = 5


@dataclass(frozen=True, slots=True)
class Peer:
    name: str
    start: Start
    client: type[Http] = Http
    environment: Mapping[str, str] = field(default_factory=dict)


def ours(places: Places, ports: Sequence[int]) -> list[str]:
    port, grpc, metrics, *_ = ports
    serve = [str(places.ours / "bin" / "catsdogs"), "serve", str(places.archive), "--workers", str(WORKERS)]
    return [*serve, "--port", str(port), "--grpc-port", str(grpc), "--metrics-port", str(metrics)]


def stock(places: Places, ports: Sequence[int]) -> list[str]:
    port, management, metrics, grpc, grpc_management = ports
    config = places.scratch / "config.properties"
    config.write_text(
        f"inference_address=http://127.0.0.1:{port}\n"
        f"management_address=http://127.0.0.1:{management}\n"
        f"metrics_address=http://127.0.0.1:{metrics}\n"
        f"grpc_inference_port={grpc}\n"
        f"grpc_management_port={grpc_management}\n"
        f"default_workers_per_model={WORKERS}\n"
    )
    start = [str(places.theirs / "bin" / "torchserve"), "--start", "--foreground", "--ncs", "--disable-token-auth"]
    return [
        *start,
        "--ts-config",
        str(config),
        "--model-store",
        str(places.scratch),
        "--models",
        "catsdogs=catsdogs.mar",
    ]


def fastapi(places: Places, ports: Sequence[int]) -> list[str]:
    uvicorn = [str(places.theirs / "bin" / "python"), "-m", "uvicorn", "loadtest.rivals.fastapi_app:app"]
    return [*uvicorn, "--port", str(ports[0]), "--workers", str(WORKERS), "--log-level", "warning"]


OURS = Peer("catsdogs", ours)
PEERS = (
    OURS,
    Peer("FastAPI and ONNX Runtime", fastapi, OneRequestPerConnection),
    # Each of its workers takes as many threads as there are cores, if it is not told otherwise.
    Peer("stock TorchServe, one thread a worker", stock, Scores, {"OMP_NUM_THREADS": "1"}),
    Peer("stock TorchServe, as it comes", stock, Scores),
)


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
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "MKL_", "TS_"))}
    java = find_java().path.parent
    environment = {
        **inherited,
        "CATSDOGS_RELEASE": str(places.release),
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
