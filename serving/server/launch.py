"""Starts TorchServe and the gateway as children, knows when they can answer, and ends them in the right order.

The gateway ends first: it finishes what is in flight, which needs TorchServe. Both live in sessions of their own,
so a Ctrl-C in the terminal reaches the launcher alone; a janitor ends them if the launcher is killed.
"""

import contextlib
import http.client
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

from common.ports import free_ports
from handler.files import UserError
from serving.gateway.caddy import Gateway
from serving.gateway.tls import trusting
from serving.health.heartbeats import why
from serving.images.process import ImageProcess
from serving.server.java_process import Frontend
from serving.server.options import Options
from serving.server.parent import bound
from serving.server.torchserve import PLAIN, TorchServe, check_run
from serving.server.workers import describe_exit
from serving.terminal import say

HERE = Path(__file__).parent
POLL_S = 0.05


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
        self.images: ImageProcess | None = None

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
            public_metrics=options.public_metrics,
            image_operations=options.image_operations,
            feedback=options.feedback,
        )
        tls = () if options.tls is None else options.tls.options()
        self.grace_s = options.drain_s + gateway.grace_s
        torchserve.prepare()
        self.probe = torchserve.answer_probes()
        self.frontend = Frontend(torchserve, say, self._tell)
        self.frontend.start()
        if options.image_operations:
            self.images = torchserve.keep_images(say, self._tell)
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
        if self.images is not None:
            self.images.stop()
        if probe := getattr(self, "probe", None):
            probe.shutdown()
            probe.server_close()
        shutil.rmtree(self.run, ignore_errors=True)
        with contextlib.suppress(OSError):  # somebody ended the janitor; there is nothing left to clean
            self._tell("done")
            self.janitor.communicate()
        self.janitor.wait()
