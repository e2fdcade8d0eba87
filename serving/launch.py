"""Starts TorchServe and the gateway as children, knows when they can answer, and ends them in the right order.

The gateway ends first: it finishes what is in flight, which needs TorchServe. Both live in sessions of their own,
so a Ctrl-C in the terminal reaches the launcher alone; a janitor ends them if the launcher is killed.
"""

import contextlib
import errno
import http.client
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType

from handler.files import UserError
from serving.archive import Archive
from serving.caddy import Gateway, Ports
from serving.java import Java
from serving.probe import why
from serving.settings import Limits
from serving.tls import Pair, trusting
from serving.torchserve import TorchServe

HERE = Path(__file__).parent
POLL_S = 0.05


@dataclass(frozen=True, slots=True)
class Options:
    """Of both halves: see TorchServe and Gateway."""

    archive: Archive
    java: Java
    limits: Limits
    host: str = "127.0.0.1"
    ports: Ports = field(default_factory=Ports)
    drain_s: float = 0.5
    startup_s: float = 90
    keys: Path | None = None
    cors_origins: tuple[str, ...] = ()
    allowed_hosts: tuple[str, ...] = ()
    """What a request's Host may name; none is no check."""
    tls: Pair | None = None
    verbose: bool = False

    @property
    def workers(self) -> int:
        return self.limits.workers

    @property
    def url(self) -> str:
        host = "127.0.0.1" if self.host in ("", "0.0.0.0") else self.host
        return f"{'https' if self.tls else 'http'}://{host}:{self.ports.rest}"


def is_free(host: str, port: int) -> bool:
    """Whether nobody listens there.

    Raises:
        UserError: we may not listen there at all, or the host is no IPv4 address of this machine.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return False
            raise UserError(f"Cannot listen on {host}:{port}: {error.strerror}.") from error
    return True


def free_ports(count: int, host: str = "127.0.0.1") -> list[int]:
    """Ports that nobody listens on; all are held open together, so they differ."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind((host, 0))
        return [int(one.getsockname()[1]) for one in sockets]


def choose_ports(host: str, wanted: Ports, any_port: bool) -> Ports:
    """The wanted ports, each replaced by a free one where it is busy and `any_port` allows.

    Raises:
        UserError: one is busy and must not be replaced.
    """
    busy = [name for name in ("rest", "grpc", "metrics") if not is_free(host, getattr(wanted, name))]
    if busy and not any_port:
        port = getattr(wanted, busy[0])
        raise UserError(f"Port {port} is in use. Choose another (see --help), or let us choose: --any-port")
    return replace(wanted, **dict(zip(busy, free_ports(len(busy), host), strict=True)))


class Server:
    """TorchServe behind the gateway; a context manager that is ready inside and leaves nothing behind.

    Raises:
        UserError: it could not be started; what the children said is on standard error.
    """

    def __init__(self, options: Options, cancelled: threading.Event | None = None) -> None:
        self.options = options
        self.cancelled = cancelled or threading.Event()
        self.torchserve: subprocess.Popen[bytes] | None = None
        self.gateway: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "Server":
        # Under TMPDIR, but not where that is long: a unix socket's path may have 107 bytes.
        short = len(tempfile.gettempdir()) <= 60
        self.run = Path(tempfile.mkdtemp(prefix="catsdogs-", dir=None if short else "/tmp"))
        self.janitor = subprocess.Popen(
            [sys.executable, "-I", str(HERE / "janitor.py")], stdin=subprocess.PIPE, start_new_session=True, text=True
        )
        try:
            self._tell(f"folder {self.run}")
            self._start()
            self._wait_ready()
        except BaseException:
            self.stop(at_once=True)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _tell(self, line: str) -> None:
        assert self.janitor.stdin is not None
        self.janitor.stdin.write(line + "\n")
        self.janitor.stdin.flush()

    def _spawn(self, arguments: Sequence[str], environment: Mapping[str, str], folder: Path) -> subprocess.Popen[bytes]:
        child = subprocess.Popen(
            arguments,
            env={**os.environ, **environment},
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=sys.stderr.fileno() if self.options.verbose else subprocess.DEVNULL,
            start_new_session=True,
        )
        self._tell(f"group {child.pid}")
        return child

    def _start(self) -> None:
        options = self.options
        self.grpc_port, management_port = free_ports(2)
        torchserve = TorchServe(
            archive=options.archive,
            java=options.java,
            run=self.run,
            limits=options.limits,
            grpc_port=self.grpc_port,
            grpc_management_port=management_port,
            verbose=options.verbose,
        )
        gateway = Gateway(
            run=self.run,
            model=options.archive.name,
            host=options.host,
            ports=options.ports,
            drain_s=options.drain_s,
            keys=options.keys,
            cors_origins=options.cors_origins,
            allowed_hosts=options.allowed_hosts,
        )
        tls = () if options.tls is None else options.tls.options()
        self.grace_s = options.drain_s + gateway.grace_s
        torchserve.prepare()
        self.torchserve = self._spawn(torchserve.command(), torchserve.environment(), torchserve.folder)
        self.probe = torchserve.answer_probes()
        self.gateway = self._spawn(gateway.process_command(*tls), {}, self.run)

    def _wait_ready(self) -> None:
        deadline = time.monotonic() + self.options.startup_s
        while not self.answers() and not self.cancelled.is_set():
            self.check_children()
            if time.monotonic() > deadline:
                found = f"No worker could answer within {self.options.startup_s:.0f} s{why(self.run)}"
                raise UserError(f"{found}. --verbose shows what the workers say.")
            time.sleep(POLL_S)

    def answers(self) -> bool:
        """Whether the gateway says ready."""
        host, port = self.options.url.partition("//")[2].rsplit(":", 1)
        connection = http.client.HTTPConnection(host, int(port), timeout=5)
        if self.options.tls:
            # It asks its own child: whom the certificate is for does not matter.
            connection = http.client.HTTPSConnection(host, int(port), timeout=5, context=trusting(None))
        try:
            connection.request("GET", "/readyz")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def check_children(self) -> None:
        """Raises UserError where one has ended by itself."""
        for name, child in (("TorchServe", self.torchserve), ("The gateway", self.gateway)):
            if child is not None and child.poll() is not None:
                raise UserError(f"{name} ended by itself with status {child.returncode}.")

    def stop(self, at_once: bool = False) -> None:
        """The gateway first, which answers what is in flight; then TorchServe, which then has nothing left to do."""
        if self.gateway is not None and not at_once:
            self.gateway.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.gateway.wait(self.grace_s + 5)
        # TorchServe's own shutdown waits 3 s for requests that can no longer come.
        for child in (self.gateway, self.torchserve):
            if child is not None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(child.pid, signal.SIGKILL)
                child.wait()
        if probe := getattr(self, "probe", None):
            probe.shutdown()
            probe.server_close()
        shutil.rmtree(self.run, ignore_errors=True)
        with contextlib.suppress(BrokenPipeError):  # somebody ended the janitor; there is nothing left to clean
            self._tell("done")
            self.janitor.communicate()
        self.janitor.wait()
