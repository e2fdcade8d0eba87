"""A server that is measured: started on free ports, asked for its counters, stopped."""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile

from common.ports import free_ports
from handler.files import UserError
from loadtest.generate.clients import Address, Http
from loadtest.generate.local import stop, wait_until
from loadtest.judge.server import Scrape, scrape

MODEL = "catsdogs"


@dataclass(frozen=True, slots=True)
class Server:
    process: "subprocess.Popen[bytes]"
    port: int
    metrics_port: int

    def client(self) -> Http:
        return Http(Address(url=f"http://127.0.0.1:{self.port}", grpc="", model=MODEL))

    def counters(self) -> Scrape:
        """Return the server's metrics.

        Raises:
            UserError: they could not be read.
        """
        read = scrape(f"http://127.0.0.1:{self.metrics_port}/metrics")
        if read is None:
            raise UserError("The server's metrics could not be read.")
        return read


@contextmanager
def serving(program: Path, archive: Path | None, environment: Mapping[str, str] | None = None) -> Iterator[Server]:
    """Start `program serve` and yield it once it is ready.

    Args:
        archive: that it serves; None is its own default.
        environment: variables that it has beside ours.

    Raises:
        UserError: it does not start.
    """
    rest, grpc, metrics = free_ports(3)
    command = [str(program), "serve", *([str(archive)] if archive else [])]
    command += ["--port", str(rest), "--grpc-port", str(grpc), "--metrics-port", str(metrics)]
    print(f"Starting a server: {' '.join(command)}", file=sys.stderr, flush=True)
    with TemporaryFile() as log:
        try:
            process = subprocess.Popen(
                command, stdout=log, stderr=log, start_new_session=True, env={**os.environ, **(environment or {})}
            )
        except OSError as error:
            raise UserError(f"{program} cannot be started: {error.strerror}.") from error
        try:
            wait_until(process, rest, log)
            yield Server(process, rest, metrics)
        finally:
            stop(process)
