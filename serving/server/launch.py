"""Starts TorchServe and the gateway as children, knows when they can answer, and ends them in the right order.

The gateway ends first: it finishes what is in flight, which needs TorchServe. Both live in sessions of their own,
so a Ctrl-C in the terminal reaches the launcher alone; a janitor ends them if the launcher is killed.
"""

import contextlib
import errno
import http.client
import itertools
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Any

from handler.files import UserError
from serving.gateway.caddy import Gateway, Ports
from serving.gateway.tls import Pair, trusting
from serving.health.probe import why
from serving.server.archive import Archive
from serving.server.frontend import Frontend
from serving.server.java import Java
from serving.server.parent import bound
from serving.server.settings import Limits
from serving.server.torchserve import PLAIN, TorchServe, check_run
from serving.server.workers import describe_exit

HERE = Path(__file__).parent
POLL_S = 0.05


def say(sentence: str) -> None:
    """Tell the operator, on standard error."""
    print(sentence, file=sys.stderr, flush=True)


@dataclass(frozen=True, slots=True)
class Options:
    """Options of both halves of the server: see TorchServe and Gateway."""

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
    """Host names that requests may name; empty accepts every name."""
    access_log: bool = False
    stats: bool = False
    tls: Pair | None = None
    verbose: bool = False

    @property
    def workers(self) -> int:
        return self.limits.workers

    @property
    def url(self) -> str:
        """Return where this machine reaches REST and the page."""
        return self.url_of({"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host))

    def url_of(self, host: str) -> str:
        return f"{'https' if self.tls else 'http'}://{bracketed(host)}:{self.ports.rest}"


def bracketed(host: str) -> str:
    """Return a host as it stands before a port: an IPv6 address in brackets."""
    return f"[{host}]" if ":" in host else host


def resolve(host: str, port: int) -> list[tuple[socket.AddressFamily, tuple[Any, ...]]]:
    """Return the addresses that a host to listen on stands for.

    Raises:
        UserError: it stands for none.
    """
    try:
        addresses = socket.getaddrinfo(host or "0.0.0.0", port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise UserError(f"Cannot listen on {bracketed(host)}:{port}: {error.strerror}.") from error
    return [(family, address) for family, _, _, _, address in addresses]


def is_free(host: str, port: int) -> bool:
    """Whether nobody listens there.

    Raises:
        UserError: we may not listen there at all, or the host is no address of this machine.
    """
    for family, address in resolve(host, port):
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(address)
            except OSError as error:
                if error.errno == errno.EADDRINUSE:
                    return False
                raise UserError(f"Cannot listen on {bracketed(host)}:{port}: {error.strerror}.") from error
    return True


def free_ports(count: int, host: str = "127.0.0.1") -> list[int]:
    """Ports that nobody listens on; all are held open together, so they differ."""
    family, address = resolve(host, 0)[0]
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket(family)) for _ in range(count)]
        for listener in sockets:
            listener.bind(address)
        return [int(listener.getsockname()[1]) for listener in sockets]


def choose_ports(host: str, wanted: Ports, any_port: bool) -> Ports:
    """The wanted ports, each replaced by a free one where it is busy and `any_port` allows.

    Raises:
        UserError: two are the same, or one is busy and must not be replaced.
    """
    named = {"--port": wanted.rest, "--grpc-port": wanted.grpc, "--metrics-port": wanted.metrics}
    for (first, port), (second, other) in itertools.combinations(named.items(), 2):
        if port == other:
            raise UserError(f"{first} and {second} are both {port}: give each a port of its own.")
    busy = [name for name in ("rest", "grpc", "metrics") if not is_free(host, getattr(wanted, name))]
    if busy and not any_port:
        port = getattr(wanted, busy[0])
        raise UserError(f"Port {port} is in use. Choose another (see --help), or take a free one by --any-port.")
    return replace(wanted, **dict(zip(busy, free_ports(len(busy), host), strict=True)))


def reachable_addresses(host: str) -> list[str]:
    """Return this machine's addresses by which others may reach a server that listens on `host`.

    None where it listens on this machine alone. No packet is sent: the kernel says from where it would send one.
    """
    outside = {"": ["192.0.2.1"], "0.0.0.0": ["192.0.2.1"], "::": ["192.0.2.1", "2001:db8::1"]}.get(host, [])
    addresses: list[str] = []
    for target in outside:
        with contextlib.suppress(OSError), socket.socket(resolve(target, 9)[0][0], socket.SOCK_DGRAM) as probe:
            probe.connect((target, 9))
            addresses.append(str(probe.getsockname()[0]))
    if outside:
        with contextlib.suppress(OSError):
            family = socket.AF_UNSPEC if host == "::" else socket.AF_INET
            own = socket.getaddrinfo(socket.gethostname(), None, family, socket.SOCK_STREAM)
            addresses += [str(address[0]) for _, _, _, _, address in own]
    # A scoped address works from one interface only, and loopback from here alone.
    usable = [
        address for address in addresses if not address.startswith("127.") and address != "::1" and "%" not in address
    ]
    return list(dict.fromkeys(usable))


class Server:
    """TorchServe behind the gateway; a context manager that is ready inside and leaves nothing behind.

    Enter it in a thread that outlives it: the gateway ends with the thread that started it.

    Args:
        restarts: start TorchServe again when it ends by itself, once it has answered.

    Raises:
        UserError: it could not be started; what the children said is on standard error.
    """

    def __init__(self, options: Options, cancelled: threading.Event | None = None, *, restarts: bool = True) -> None:
        self.options = options
        self.restarts = restarts
        self.cancelled = cancelled or threading.Event()
        self.frontend: Frontend | None = None
        self.gateway: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "Server":
        # Under TMPDIR, but not where that would not do in settings and in sockets' paths.
        self.run = Path(tempfile.mkdtemp(prefix="catsdogs-"))
        try:
            check_run(self.run)
        except UserError:
            self.run.rmdir()
            self.run = Path(tempfile.mkdtemp(prefix="catsdogs-", dir="/tmp"))
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
        with contextlib.suppress(OSError):  # somebody ended the janitor; the kernel ends our children without it
            self.janitor.stdin.write(line + "\n")
            self.janitor.stdin.flush()

    def _keys(self) -> Path | None:
        """Return the keys' file by a path that may stand in the gateway's configuration."""
        keys = self.options.keys
        if keys is None or PLAIN.fullmatch(str(keys.absolute())):
            return keys
        link = self.run / "keys"
        link.symlink_to(keys.absolute())
        return link

    @property
    def torchserve(self) -> subprocess.Popen[bytes] | None:
        """Java, of which there may be another later."""
        return None if self.frontend is None else self.frontend.child

    def _spawn(self, arguments: Sequence[str], environment: Mapping[str, str], folder: Path) -> subprocess.Popen[bytes]:
        child = subprocess.Popen(
            bound(arguments),
            env={**os.environ, **environment},
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=sys.stderr.fileno() if self.options.verbose else subprocess.DEVNULL,
            start_new_session=True,
            umask=0o007,
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
            keys=self._keys(),
            cors_origins=options.cors_origins,
            allowed_hosts=options.allowed_hosts,
            access_log=options.access_log,
            stats=options.stats,
        )
        tls = () if options.tls is None else options.tls.options()
        self.grace_s = options.drain_s + gateway.grace_s
        torchserve.prepare()
        self.probe = torchserve.answer_probes()
        self.frontend = Frontend(torchserve, say, self._tell)
        self.frontend.start()
        self.gateway = self._spawn(gateway.process_command(*tls), {}, self.run)

    def _wait_ready(self) -> None:
        deadline = time.monotonic() + self.options.startup_s
        while not self.answers() and not self.cancelled.is_set():
            self.check_children()
            if time.monotonic() > deadline:
                reason = f"No worker could answer within {self.options.startup_s:.0f} s{why(self.run)}"
                raise UserError(f"{reason}. --verbose shows the workers' logs.")
            time.sleep(POLL_S)
        # One that ends before it ever answered would do so again.
        if self.frontend is not None:
            self.frontend.restarts = self.restarts

    def answers(self) -> bool:
        """Whether the gateway says ready."""
        url = urllib.parse.urlsplit(self.options.url)
        assert url.hostname is not None
        connection = http.client.HTTPConnection(url.hostname, url.port, timeout=5)
        if self.options.tls:
            # It asks its own child: whom the certificate is for does not matter.
            connection = http.client.HTTPSConnection(url.hostname, url.port, timeout=5, context=trusting(None))
        try:
            connection.request("GET", "/readyz")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def check_children(self) -> None:
        """Raise UserError where a child ended unexpectedly and is not restarted."""
        if self.frontend is not None and self.frontend.failure is not None:
            raise UserError(self.frontend.failure)
        if self.gateway is not None and self.gateway.poll() is not None:
            raise UserError(f"The gateway ended unexpectedly {describe_exit(self.gateway.returncode)}.")

    def stop(self, at_once: bool = False) -> None:
        """The gateway first, which answers what is in flight; then TorchServe, which then has nothing left to do."""
        if self.gateway is not None and not at_once:
            self.gateway.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.gateway.wait(self.grace_s + 5)
        if self.gateway is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.gateway.pid, signal.SIGKILL)
            self.gateway.wait()
        if self.frontend is not None:
            self.frontend.stop()
        if probe := getattr(self, "probe", None):
            probe.shutdown()
            probe.server_close()
        shutil.rmtree(self.run, ignore_errors=True)
        with contextlib.suppress(OSError):  # somebody ended the janitor; there is nothing left to clean
            self._tell("done")
            self.janitor.communicate()
        self.janitor.wait()
