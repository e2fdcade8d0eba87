"""TorchServe's half of the server: what it reads, how it is called, and who stays with it in a container.

Everything that it writes lies in one folder, which it shares with the gateway: sockets, settings, heartbeats.
"""

import contextlib
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from handler.files import UserError
from handler.heartbeat import DIRECTORY_VARIABLE
from serving import openapi
from serving.archive import Archive
from serving.java import Java
from serving.settings import Limits, Settings

if TYPE_CHECKING:
    from serving.probe_server import ProbeServer

HERE = Path(__file__).parent
FOLDERS = ("tmp", "cwd", "heartbeats", "workflows", "logs")
SOCKETS = ("inference.sock", "management.sock", "metrics.sock", "probe.sock")
POLL_S = 0.2


@dataclass(frozen=True, slots=True)
class TorchServe:
    """One TorchServe. `run` is a short path: a unix socket's may have 107 bytes."""

    archive: Archive
    java: Java
    run: Path
    limits: Limits
    grpc_port: int
    grpc_management_port: int
    verbose: bool = False

    def prepare(self) -> None:
        """Makes `run` as an empty one is, for a container that starts anew finds what the last one left.

        Raises:
            UserError: nothing there may be run.
        """
        # TorchServe unpacks a library there, without which it has no unix sockets, and ends without a reason.
        if hasattr(os, "ST_NOEXEC") and os.statvfs(self.run).f_flag & os.ST_NOEXEC:
            raise UserError(f"{self.run} is mounted noexec: mount it with exec, as by docker run --tmpfs FOLDER:exec")
        for name in FOLDERS:
            shutil.rmtree(self.run / name, ignore_errors=True)
            (self.run / name).mkdir(parents=True)
        for name in SOCKETS:
            (self.run / name).unlink(missing_ok=True)
        Settings(
            run=self.run,
            archive=f"{self.archive.name}={self.archive.path.name}",
            workers=self.limits.workers,
            queue=self.limits.queue,
            grpc_port=self.grpc_port,
            grpc_management_port=self.grpc_management_port,
            worker_level="info" if self.verbose else "warn",
        ).write()

    def command(self) -> list[str]:
        """Java directly, not TorchServe's command, which would not pass signals on.

        Raises:
            UserError: TorchServe is not installed.
        """
        spec = importlib.util.find_spec("ts")
        if spec is None or spec.origin is None:
            raise UserError("TorchServe is not installed: pip install 'catsdogs[serve]'")
        home = Path(spec.origin).parent.parent
        return [
            str(self.java.path),
            *Settings.java_arguments(self.java, self.run, home, self.limits.heap_mib),
            *("-cp", f"{home}/ts/frontend/*", "org.pytorch.serve.ModelServer"),
            *("--python", sys.executable, "-f", f"{self.run}/config.properties"),
            *("-s", str(self.archive.path.resolve().parent), "-ncs"),
        ]

    def environment(self) -> dict[str, str]:
        return {
            "TEMP": f"{self.run}/tmp",
            "TMPDIR": f"{self.run}/tmp",
            "LOG_LOCATION": f"{self.run}/logs",
            "METRICS_LOCATION": f"{self.run}/logs",
            # A form's part that says it is JSON or text, and is not, would write a traceback into the log.
            "TS_DECODE_INPUT_REQUEST": "false",
            # One thread per worker, one worker per core: two-threaded workers fight each other.
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": "" if importlib.util.find_spec("torch") else str(HERE / "standin"),
            DIRECTORY_VARIABLE: f"{self.run}/heartbeats",
        }

    @property
    def folder(self) -> Path:
        """To start in: the class path begins at the working directory, so that is an empty one of our own."""
        return self.run / "cwd"

    def answer_probes(self) -> "ProbeServer":
        # Imported when TorchServe is starting already.
        from serving.probe_server import ProbeServer
        from serving.questions import registered

        facts = self.archive.facts()
        settings = registered(self.archive.path, self.limits.workers)
        return ProbeServer(self.run, {**facts, "openapi": openapi.document(facts), "registered": settings})


def run_alone(half: TorchServe, stop: threading.Event) -> None:
    """A container's process: starts TorchServe, answers the probe, ends both when `stop` is set.

    Whoever sets it has ended the gateway before (in a pod: the sidecar goes last), so nothing is in flight.

    Raises:
        UserError: TorchServe ended by itself.
    """
    half.prepare()
    child = subprocess.Popen(
        half.command(),
        env={**os.environ, **half.environment()},
        cwd=half.folder,
        stdin=subprocess.DEVNULL,
        stdout=sys.stderr.fileno() if half.verbose else subprocess.DEVNULL,
        start_new_session=True,
    )
    probe = half.answer_probes()
    try:
        while not stop.wait(POLL_S):
            if child.poll() is not None:
                raise UserError(f"TorchServe ended by itself with status {child.returncode}.")
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)  # its own shutdown waits 3 s for requests that can no longer come
        child.wait()
        probe.shutdown()
        probe.server_close()
