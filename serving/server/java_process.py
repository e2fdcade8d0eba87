"""TorchServe's Java process: started, watched, started again where that is wanted, and ended with all its workers."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import IO, Protocol

from handler.files import UserError
from serving.server.parent import bound
from serving.server.workers import Say, WorkerLog, describe_exit
from serving.telemetry.workers import Telemetry

POLL_S = 0.1
# Until the token is there, which everybody waits for.
START_POLL_S = 0.02
MAX_DEATHS = 5
WINDOW_S = 60.0
# What Java may write to standard error: this much at once, and then so much a second (86 MB a day).
LOG_BURST = 65_536
LOG_RATE = 1_000
MAX_LINE = 2_000
OUT_OF_MEMORY = 3
# Of a worker that hangs, which the launcher says itself, with its process id.
HUNG = b"Backend worker did not respond in given time"


class Half(Protocol):
    """Settings and folders that Java is started with: see serving/server/torchserve.py."""

    @property
    def verbose(self) -> bool: ...
    @property
    def folder(self) -> Path: ...
    @property
    def records(self) -> Path: ...
    @property
    def heartbeats(self) -> Path: ...
    @property
    def telemetry(self) -> Telemetry: ...
    def clear(self) -> None: ...
    def command(self) -> list[str]: ...
    def environment(self) -> dict[str, str]: ...
    def publish_key(self) -> bool: ...
    def open_sockets(self) -> None: ...


class Frontend:
    """One Java with its workers, in a thread of its own, which the kernel counts as Java's parent.

    Args:
        say: takes a sentence for the operator.
        tell: takes the janitor's lines: `group PGID` when there is a Java, `ended PGID` when there is none any more.
    """

    def __init__(self, half: Half, say: Say, tell: Callable[[str], None] = lambda line: None) -> None:
        self.half = half
        self.say = say
        self.tell = tell
        self.restarts = False
        """Whether Java is started again when it ends by itself. A pod leaves that to Kubernetes."""
        self.failure: str | None = None
        """Why there is no Java any more, in a sentence."""
        self.child: subprocess.Popen[bytes] | None = None
        self._stopping = threading.Event()
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._run, name="torchserve", daemon=True)

    def start(self) -> None:
        """Return once Java was started, or could not be."""
        self._thread.start()
        self._started.wait()

    def stop(self) -> None:
        """End Java and its workers at once: its own shutdown waits 3 s for requests that can no longer come."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        deaths: deque[float] = deque()
        try:
            while True:
                child = self._spawn()
                self._watch(child, bool(deaths))
                if self._stopping.is_set():
                    return
                end = describe_exit(child.returncode)
                if child.returncode == OUT_OF_MEMORY:
                    end += " (Java ran out of memory)"
                if not self.restarts:
                    self.failure = f"TorchServe ended unexpectedly {end}."
                    return
                now = time.monotonic()
                deaths.append(now)
                while now - deaths[0] > WINDOW_S:
                    deaths.popleft()
                if len(deaths) >= MAX_DEATHS:
                    self.failure = f"TorchServe ended {len(deaths)} times within a minute, at last {end}: giving up."
                    return
                delay = 0.5 * 2 ** (len(deaths) - 1)
                self.say(f"TorchServe ended unexpectedly {end}: restarting it in {delay:g} s.")
                if self._stopping.wait(delay):
                    return
                self.half.clear()
                self.half.telemetry.torchserve_restarts += 1
        except (UserError, OSError) as error:
            self.failure = f"TorchServe cannot be run: {error}"
        finally:
            self._started.set()

    def _spawn(self) -> "subprocess.Popen[bytes]":
        verbose = self.half.verbose
        child = subprocess.Popen(
            bound(self.half.command()),
            env={**os.environ, **self.half.environment()},
            cwd=self.half.folder,
            stdin=subprocess.DEVNULL,
            stdout=sys.stderr.fileno() if verbose else subprocess.DEVNULL,
            stderr=None if verbose else subprocess.PIPE,
            start_new_session=True,
            # What Java makes is for the gateway's group too, as are its sockets; and for nobody else.
            umask=0o007,
        )
        self.child = child
        self.tell(f"group {child.pid}")
        self._started.set()
        return child

    def _watch(self, child: "subprocess.Popen[bytes]", restarted: bool) -> None:
        """Return when Java has ended, by itself or because it was told to; none of its workers is left then."""
        telemetry = self.half.telemetry
        workers = WorkerLog(self.half.records, self.half.heartbeats, self.say, restarted, telemetry.count_end)
        log = threading.Thread(target=pump, args=(child.stderr, write_stderr), name="torchserve-log", daemon=True)
        if child.stderr is not None:
            log.start()
        published = False
        try:
            while child.poll() is None:
                published = published or self.half.publish_key()
                self.half.open_sockets()
                # A record that is there while Java lives is of a worker that ended before it.
                records = workers.read()
                if child.poll() is None:
                    workers.tell(records)
                if records:
                    telemetry.collect(self.half.heartbeats)
                reap(child.pid)
                if self._stopping.wait(POLL_S if published else START_POLL_S):
                    return
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            child.wait()
            self.tell(f"ended {child.pid}")
            reap(child.pid)
            if child.stderr is not None:
                log.join()
                child.stderr.close()


def reap(group: int) -> None:
    """Ask for the status of processes of a group that became this one's children, as those of pid 1 do."""
    if not hasattr(os, "waitid"):
        return
    with contextlib.suppress(ChildProcessError):
        while True:
            ended = os.waitid(os.P_PGID, group, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            if ended is None or ended.si_pid == group:  # Java itself is asked for by who started it
                return
            os.waitpid(ended.si_pid, os.WNOHANG)


def write_stderr(data: bytes) -> None:
    with contextlib.suppress(OSError):
        os.write(2, data)


def pump(source: IO[bytes], write: Callable[[bytes], None]) -> None:
    """Pass lines on, at most LOG_BURST bytes at once and LOG_RATE a second, so that no client can fill a disk."""
    left, last, dropped = float(LOG_BURST), time.monotonic(), 0
    while line := source.readline(MAX_LINE):
        if HUNG in line:
            continue
        now = time.monotonic()
        left, last = min(LOG_BURST, left + (now - last) * LOG_RATE), now
        # Once lines are left out, not each that there is room for again would have a note of its own.
        if left < (LOG_BURST / 8 if dropped else len(line)):
            dropped += 1
            continue
        if dropped:
            note = f"{dropped} lines of TorchServe's log were left out: it may write {LOG_RATE} bytes a second.\n"
            write(note.encode())
            left -= len(note)
            dropped = 0
        left -= len(line)
        write(line)
    if dropped:
        write(f"{dropped} lines of TorchServe's log were left out.\n".encode())
