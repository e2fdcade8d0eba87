"""A server that runs for the length of a test, on free ports of this machine."""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO
from urllib.request import ProxyHandler, build_opener

from common.ports import free_ports
from handler.files import UserError

# Time to start, and time to finish what is in flight.
PATIENCE_S = 120


@contextmanager
def serving(program: Path, nice: int = 0) -> Iterator[dict[str, str]]:
    """Start `program serve`, wait until it is ready, and yield the options that the load test needs to reach it.

    Args:
        nice: added to the server's nice value, as by nice(1).

    Raises:
        UserError: it does not start.
    """
    rest, grpc, metrics = free_ports(3)
    command = [str(program), "serve", "--port", str(rest), "--grpc-port", str(grpc), "--metrics-port", str(metrics)]
    print(f"Starting a server: {program} serve", file=sys.stderr, flush=True)
    with TemporaryFile() as log:
        try:
            # A session of its own: Ctrl-C reaches the test alone, which ends first.
            server = subprocess.Popen(
                ["nice", "-n", str(nice), *command] if nice else command,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        except OSError as error:
            raise UserError(f"{program} cannot be started: {error.strerror}.") from error
        try:
            wait_until(server, rest, log)
            yield {
                "url": f"http://127.0.0.1:{rest}",
                "grpc": f"127.0.0.1:{grpc}",
                "metrics": f"http://127.0.0.1:{metrics}/metrics",
            }
        finally:
            stop(server)


def wait_until(server: "subprocess.Popen[bytes]", port: int, log: IO[bytes]) -> None:
    opener = build_opener(ProxyHandler({}))
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline and server.poll() is None:
        try:
            with opener.open(f"http://127.0.0.1:{port}/readyz", timeout=5):
                return
        except OSError:
            time.sleep(0.1)
    log.seek(0)
    text = log.read().decode(errors="replace").strip()
    raise UserError(f"The server did not start:\n{text}")


def stop(server: "subprocess.Popen[bytes]") -> None:
    server.send_signal(signal.SIGTERM)
    try:
        server.wait(PATIENCE_S)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()
