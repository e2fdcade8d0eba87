"""TorchServe's frontend, asked over its socket. Standard library only."""

import http.client
import socket
from collections.abc import Mapping
from pathlib import Path

FRONTEND_S = 1.0
# What a worker answers to a request without a picture.
NO_IMAGE = 400


class UnixConnection(http.client.HTTPConnection):
    """HTTP to a unix socket."""

    def __init__(self, path: Path, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self.path))


def authorization(run: Path) -> dict[str, str]:
    """Return the header with TorchServe's inference token, another whenever TorchServe starts, where there is one."""
    try:
        return {"Authorization": f"Bearer {(run / 'inference.key').read_text().strip()}"}
    except OSError:
        return {}


def torchserve_status(run: Path, path: str, timeout_s: float, headers: Mapping[str, str] | None = None) -> int | None:
    """Return the status of TorchServe's answer, or None where it does not answer."""
    connection = UnixConnection(run / "inference.sock", timeout_s)
    try:
        connection.request("GET", path, headers={**authorization(run), **(headers or {})})
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def frontend_answers(run: Path, timeout_s: float = FRONTEND_S) -> bool:
    """Whether TorchServe's frontend takes requests; its /ping says no more than that."""
    return torchserve_status(run, "/ping", timeout_s) is not None


def worker_status(run: Path, timeout_s: float) -> int | None:
    """Return the HTTP status of a request without a picture, which waits where others do and costs a worker nothing.

    /invocations needs no model's name. Where there is one in the path TorchServe adds the header, by which the handler
    tells REST from gRPC.
    """
    return torchserve_status(run, "/invocations", timeout_s, {"explain": "False"})
