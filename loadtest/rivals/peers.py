"""The servers that are compared: the command, the client and the precision of each."""

import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from loadtest.generate.clients import Address, Http, Multipart

WORKERS = 2
OURS = "catsdogs"
ON_REQUEST = ("litserve", "bentoml")


class Row(NamedTuple):
    """A row of the tables: a server and the precision of the network in it."""

    server: str
    precision: str

    def __str__(self) -> str:
        return f"{self.server}, {self.precision}"


@dataclass(frozen=True, slots=True)
class Places:
    """The environments and folders that the servers need."""

    ours: Path
    """The environment of the shipped server."""
    theirs: Path
    """The environment of the others: torch, torchvision, captum, FastAPI."""
    asked_for: Path
    """The environment of the servers on request."""
    archive: Path
    """The archive that the shipped server serves."""
    unpacked: Path
    """Its files, of which the others take the network."""
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


class OneFormPerConnection(OneRequestPerConnection, Multipart):
    """A client of BentoML, which reads pictures from forms, in processes as uvicorn's."""


Start = Callable[[Places, Sequence[int]], list[str]]
"""A function that returns the command of a server that answers on the first of these ports; it may use the others."""


@dataclass(frozen=True, slots=True)
class Peer:
    name: str
    start: Start
    client: type[Http] = Http
    environment: Mapping[str, str] = field(default_factory=dict)
    precision: str = "fp32"

    @property
    def row(self) -> Row:
        return Row(self.name, self.precision)


def ours(places: Places, ports: Sequence[int], workers: int = WORKERS) -> list[str]:
    port, grpc, metrics, *_ = ports
    serve = [str(places.ours / "bin" / "catsdogs"), "serve", str(places.archive), "--workers", str(workers)]
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
        # Its workers' sockets would lie in /tmp, under names that every TorchServe of the machine uses.
        f"vmargs=-Djava.io.tmpdir={places.scratch}\n"
    )
    start = [str(places.theirs / "bin" / "torchserve"), "--start", "--foreground", "--ncs", "--disable-token-auth"]
    models = ["--model-store", str(places.scratch), "--models", "catsdogs=catsdogs.mar"]
    return [*start, "--ts-config", str(config), *models]


def fastapi(places: Places, ports: Sequence[int]) -> list[str]:
    uvicorn = [str(places.theirs / "bin" / "python"), "-m", "uvicorn", "--factory", "loadtest.rivals.fastapi_app:make"]
    return [*uvicorn, "--port", str(ports[0]), "--workers", str(WORKERS), "--log-level", "warning"]


def litserve(places: Places, ports: Sequence[int]) -> list[str]:
    return [str(places.asked_for / "bin" / "python"), "-m", "loadtest.rivals.litserve_app", str(ports[0]), str(WORKERS)]


def bentoml(places: Places, ports: Sequence[int]) -> list[str]:
    serve = [str(places.asked_for / "bin" / "bentoml"), "serve", "loadtest.rivals.bentoml_app:CatsDogs"]
    return [*serve, "--host", "127.0.0.1", "--port", str(ports[0])]


def by_runtime(
    name: str, start: Start, client: type[Http], runtime: str, precisions: Sequence[str] = ("fp32", "int8")
) -> list[Peer]:
    """Return a server once for each precision, which takes our network from the unpacked archive."""
    return [
        Peer(name, start, client, {"RIVAL_RUNTIME": runtime, "RIVAL_PRECISION": precision}, precision)
        for precision in precisions
    ]


PEERS = (
    *(Peer(OURS, ours, Http, {"CATSDOGS_PRECISION": precision}, precision) for precision in ("fp32", "int8")),
    *by_runtime("FastAPI, ONNX Runtime", fastapi, OneRequestPerConnection, "onnxruntime", ("fp32",)),
    *by_runtime("FastAPI, OpenVINO", fastapi, OneRequestPerConnection, "openvino"),
    # Each of its workers takes as many threads as there are cores, if it is not told otherwise.
    Peer("stock TorchServe, one thread a worker", stock, Scores, {"OMP_NUM_THREADS": "1"}),
    Peer("stock TorchServe, as it comes", stock, Scores),
    *by_runtime("LitServe, OpenVINO", litserve, Multipart, "openvino"),
    *by_runtime("BentoML, OpenVINO", bentoml, OneFormPerConnection, "openvino"),
)


def contestants(
    requested: Collection[str], *, int8: bool, openvino: bool, peers: Sequence[Peer] = PEERS
) -> tuple[list[Peer], list[str]]:
    """Return the servers that can be measured, and a sentence for each kind of row that cannot.

    Args:
        requested: those of ON_REQUEST that were asked for.
        int8: the archive holds an int8 network.
        openvino: OpenVINO is installed.
    """
    left_out = {name for name in ON_REQUEST if name not in requested}
    chosen = [peer for peer in peers if peer.start.__name__ not in left_out]
    skipped = []
    if not int8:
        skipped.append("No int8 rows: the archive holds no int8 network.")
        chosen = [peer for peer in chosen if peer.precision != "int8"]
    if not openvino:
        skipped.append(f"No rows of other servers with OpenVINO: it is not installed in {sys.prefix}.")
        chosen = [peer for peer in chosen if peer.environment.get("RIVAL_RUNTIME") != "openvino"]
    return chosen, skipped
