"""TorchServe's half of the server: its folders, its settings, its command line.

Two folders. `run` is shared with the gateway: sockets, heartbeats, the inference token. `private` is TorchServe's
alone: the management socket, settings, tokens, the unpacked archive. Another user of the machine may enter neither.
"""

import contextlib
import importlib.util
import json
import os
import re
import shlex
import shutil
import stat
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from handler.files import UserError
from handler.heartbeat import COUNTS_SUFFIX, DIRECTORY_VARIABLE
from handler.verified import VARIABLE as VERIFIED_VARIABLE
from serving.gateway.openapi.document import document as describe_api
from serving.gateway.openapi.document import documents as describe_all
from serving.server.archive import Archive
from serving.server.find_java import Java
from serving.server.java_process import Frontend
from serving.server.parent import LINUX, PID_VARIABLE
from serving.server.settings import Limits, Settings
from serving.server.workers import Say
from serving.telemetry.workers import Telemetry

if TYPE_CHECKING:
    from serving.health.probe_server import ProbeServer
    from serving.images.process import ImageProcess

HERE = Path(__file__).parent
PRIVATE_FOLDERS = ("tmp", "cwd", "logs", "store", "workflows")
SOCKETS = ("inference.sock", "metrics.sock")
KEY_FILE = "inference.key"
CARD_FILE = "model-card.md"
# What a path may hold that comes into TorchServe's settings, Java's arguments and the gateway's configuration.
PLAIN = re.compile(r"/[A-Za-z0-9/._+@-]*")
# A unix socket's path may have 107 bytes, and the longest here is private/tmp/.ts.sock.9000 in this folder.
MAX_PATH = 80
JAVA_MALLOC = {"MALLOC_ARENA_MAX": "2", "MALLOC_MMAP_THRESHOLD_": "1048576"}
# Of processes that one user starts: its own files, and those that it shares with the gateway's user by the group.
PRIVATE, PRIVATE_FILE, PRIVATE_SOCKET = 0o700, 0o600, 0o600
SHARED, SHARED_FILE, SHARED_SOCKET = 0o2750, 0o640, 0o660
POLL_S = 0.2


def check_run(run: Path) -> None:
    """Refuse a folder whose path would not work as part of settings and of sockets' paths.

    Raises:
        UserError: says why, and what to do.
    """
    path = str(run.absolute())
    if not PLAIN.fullmatch(path):
        raise UserError(f"{path!r} cannot be used: name a folder of letters, digits and . _ + @ - alone.")
    if len(path) > MAX_PATH:
        raise UserError(f"{path} cannot be used: it has more than {MAX_PATH} characters, too long for a unix socket.")


@dataclass(frozen=True, slots=True)
class TorchServe:
    """One TorchServe."""

    archive: Archive
    java: Java
    run: Path
    limits: Limits
    grpc_port: int
    grpc_management_port: int
    verbose: bool = False
    own: Path | None = None
    """Folder that nobody else may enter; by default one in `run`. Whoever may write to `run` could put another in its
    place, so where the gateway has a user of its own, this lies elsewhere."""
    image_operations: bool = False
    """Whether the gateway has image operations carried out."""
    telemetry: Telemetry = field(default_factory=Telemetry)

    @property
    def private(self) -> Path:
        return self.own or self.run / "private"

    @property
    def heartbeats(self) -> Path:
        return self.run / "heartbeats"

    @property
    def records(self) -> Path:
        """The log of how workers ended, a line each."""
        return self.private / "ended.jsonl"

    @property
    def folder(self) -> Path:
        """The working folder, in which TorchServe keeps its tokens."""
        return self.private / "cwd"

    def prepare(self) -> None:
        """Makes `run` as an empty one is, for a container that starts anew finds what the last one left.

        Raises:
            UserError: nothing there may be run.
        """
        check_run(self.run)
        check_run(self.private)
        # TorchServe unpacks a library there, without which it has no unix sockets, and ends without a reason.
        place = self.own or self.run
        if hasattr(os, "ST_NOEXEC") and os.statvfs(place).f_flag & os.ST_NOEXEC:
            raise UserError(f"{place} is mounted noexec: mount it with exec, as by docker run --tmpfs FOLDER:exec")
        status = self.run.stat()
        # A pod's is Kubernetes'; there it is for the group already.
        if status.st_uid == os.getuid():
            self.run.chmod(stat.S_ISGID | status.st_mode & 0o770)
        (self.run / "probe.sock").unlink(missing_ok=True)
        for counts in self.heartbeats.glob(f"*{COUNTS_SUFFIX}"):
            counts.unlink(missing_ok=True)
        self.clear()
        facts = self.archive.facts()
        for name, document in {"model.json": facts, **describe_all(facts)}.items():
            write_shared(self.run / name, json.dumps(document).encode() + b"\n")
        (self.run / CARD_FILE).unlink(missing_ok=True)
        if self.archive.card is not None:
            write_shared(self.run / CARD_FILE, self.archive.card)

    def clear(self) -> None:
        """Removes what an earlier TorchServe left, and writes what the next one reads."""
        self.telemetry.collect(self.heartbeats)
        (self.run / KEY_FILE).unlink(missing_ok=True)
        for name in SOCKETS:
            (self.run / name).unlink(missing_ok=True)
        make_folder(self.private, PRIVATE)
        make_folder(self.heartbeats, SHARED)
        for name in PRIVATE_FOLDERS:
            make_folder(self.private / name, PRIVATE)
        # What was checked, and not the file, which somebody may exchange before TorchServe reads it; it serves a folder
        # as it is.
        store = self.private / "store" / self.archive.name
        store.mkdir(mode=PRIVATE)
        self.archive.unpack(store)
        for path in store.rglob("*"):
            path.chmod(PRIVATE if path.is_dir() else PRIVATE_FILE)
        Settings(
            run=self.run,
            private=self.private,
            archive=f"{self.archive.name}={self.archive.name}",
            workers=self.limits.workers,
            queue=self.limits.queue,
            grpc_port=self.grpc_port,
            grpc_management_port=self.grpc_management_port,
            verbose=self.verbose,
        ).write()
        if LINUX:
            arguments = ["-I", "-S", str(HERE / "worker.py"), str(self.records)]
            started = shlex.join([sys.executable, *arguments])
            script = self.private / "python"
            script.write_text(f'#!/bin/sh\nexec {started} "${PID_VARIABLE}" {shlex.quote(sys.executable)} "$@"\n')
            script.chmod(PRIVATE)
        for path in self.private.iterdir():
            if path.is_file() and not path.is_symlink():
                path.chmod(path.stat().st_mode & PRIVATE)

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
            *Settings.java_arguments(self.java, self.private, home, self.limits.heap_mib),
            *("-cp", f"{home}/ts/frontend/*", "org.pytorch.serve.ModelServer"),
            *("--python", str(self.private / "python") if LINUX else sys.executable),
            *("-f", f"{self.private}/config.properties", "-s", f"{self.private}/store", "-ncs"),
        ]

    def environment(self) -> dict[str, str]:
        return {
            "TEMP": f"{self.private}/tmp",
            "TMPDIR": f"{self.private}/tmp",
            "LOG_LOCATION": f"{self.private}/logs",
            "METRICS_LOCATION": f"{self.private}/logs",
            # A form's part that says it is JSON or text, and is not, would write a traceback into the log.
            "TS_DECODE_INPUT_REQUEST": "false",
            # One thread per worker, one worker per core: two-threaded workers fight each other.
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": "" if importlib.util.find_spec("torch") else str(HERE / "standin"),
            DIRECTORY_VARIABLE: str(self.heartbeats),
            VERIFIED_VARIABLE: self.archive.list_sha256,
            # For Java alone, whose threads would each have a heap of glibc's, and large blocks stay there when freed.
            **JAVA_MALLOC,
        }

    def publish_key(self) -> bool:
        """Copy the inference token of TorchServe's key file, once it is there, for the gateway to read."""
        try:
            key = json.loads((self.folder / "key_file.json").read_bytes())["inference"]["key"]
        except (OSError, ValueError, KeyError):
            return False
        write_shared(self.run / KEY_FILE, key.encode() + b"\n")
        return True

    def open_sockets(self) -> None:
        """Have the group ask at the sockets that TorchServe shares, and only its own user at the other."""
        shared = [(self.run / name, SHARED_SOCKET) for name in SOCKETS]
        for path, mode in ((self.private / "management.sock", PRIVATE_SOCKET), *shared):
            with contextlib.suppress(FileNotFoundError):
                if stat.S_IMODE(path.stat().st_mode) != mode:
                    path.chmod(mode)

    def answer_probes(self) -> "ProbeServer":
        # Imported when TorchServe is starting already.
        from serving.health.endpoints import registered
        from serving.health.probe_server import ProbeServer

        facts = self.archive.facts()
        settings = registered(self.archive.path, self.limits.workers)
        model = {**facts, "openapi": describe_api(facts), "registered": settings}
        return ProbeServer(self.run, model, self.metrics)

    def keep_images(self, say: Say, tell: Callable[[str], None] = lambda line: None) -> "ImageProcess":
        """Start the process of image operations, which the caller stops."""
        from serving.images.process import ImageProcess

        return ImageProcess(self.run, self.archive.input, say, tell)

    def metrics(self) -> bytes:
        """Return the metrics of the workers in Prometheus' text format."""
        from serving.telemetry.exposition import encode, worker_families

        telemetry, limits = self.telemetry, self.limits
        totals = telemetry.look(self.heartbeats)
        ended, restarts = dict(telemetry.ended), telemetry.torchserve_restarts
        return encode(worker_families(totals, self.archive.classes, limits.workers, limits.queue, ended, restarts))


def make_folder(path: Path, mode: int) -> None:
    """Make an empty folder with this mode, whatever the umask. A link that somebody left there is not followed."""
    if path.is_symlink():
        path.unlink()
    if path.exists():
        # Its content alone: it may be the place of a mounted volume.
        for child in path.iterdir():
            if child.is_dir() and not child.is_symlink():
                shutil.rmtree(child, ignore_errors=True)
            else:
                child.unlink()
    path.mkdir(mode=PRIVATE, exist_ok=True)
    owner = path.stat().st_uid
    # A volume of its own is root's, and no other container has it.
    if owner not in (0, os.getuid()):
        raise UserError(f"{path} belongs to another user (uid {owner}): remove it.")
    if owner == os.getuid():
        path.chmod(mode)


def write_shared(path: Path, data: bytes) -> None:
    """Write a file for the group to read and nobody else, whole or not at all."""
    beside = path.with_name(f".{path.name}.part")
    beside.unlink(missing_ok=True)
    with open(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE_FILE), "wb") as file:
        os.fchmod(file.fileno(), SHARED_FILE)
        file.write(data)
    beside.replace(path)


def run_alone(half: TorchServe, stop: threading.Event, say: Say) -> None:
    """A container's process: starts TorchServe, answers the probe, ends both when `stop` is set.

    Whoever sets it has ended the gateway before (in a pod: the sidecar goes last), so nothing is in flight.

    Raises:
        UserError: TorchServe ended unexpectedly.
    """
    half.prepare()
    probe = half.answer_probes()
    frontend = Frontend(half, say)
    images = half.keep_images(say) if half.image_operations else None
    try:
        frontend.start()
        while not stop.wait(POLL_S):
            if frontend.failure is not None:
                raise UserError(frontend.failure)
    finally:
        frontend.stop()
        if images is not None:
            images.stop()
        probe.shutdown()
        probe.server_close()
