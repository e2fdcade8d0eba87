"""Processes of the drill, and the server among them. Each ends with the block that started it."""

import contextlib
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from common.ports import free_ports

START_S, STOP_S = 120, 20


def waited(seconds: float, condition: Callable[[], bool]) -> bool:
    """Return whether a condition came true in time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and not condition():
        time.sleep(0.2)
    return condition()


def stop(started: "subprocess.Popen[bytes]") -> None:
    """Ask a process to end, and end it and its children where they do not."""
    family = []
    with contextlib.suppress(psutil.NoSuchProcess):
        family = psutil.Process(started.pid).children(recursive=True)
    for one in family:
        with contextlib.suppress(psutil.NoSuchProcess):
            one.send_signal(signal.SIGCONT)
    started.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        started.wait(STOP_S)
    started.kill()
    started.wait()
    for one in family:
        with contextlib.suppress(psutil.NoSuchProcess):
            one.kill()


@contextlib.contextmanager
def process(*command: str | Path, folder: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """Run a command whose output goes to a file in this folder. Ctrl-C does not reach it: the block ends it."""
    with (folder / f"{Path(command[0]).name}.log").open("ab") as log:
        started = subprocess.Popen(
            [str(word) for word in command], cwd=folder, stdout=log, stderr=log, start_new_session=True
        )
    try:
        yield started
    finally:
        stop(started)


@dataclass
class Server:
    """A running `catsdogs serve`."""

    pid: int
    url: str
    metrics: str
    """Host and port of the metrics."""

    def processes(self, what: str) -> list[psutil.Process]:
        """Return the processes under the server whose command has this word."""
        named = []
        for one in psutil.Process(self.pid).children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                named += [one] if what in " ".join(one.cmdline()[:6]) else []
        return named

    def signal(self, what: str, number: signal.Signals, most: int = 100) -> None:
        for one in self.processes(what)[:most]:
            with contextlib.suppress(psutil.NoSuchProcess):
                one.send_signal(number)


@contextlib.contextmanager
def serving(command: Path, archive: Path, folder: Path, workers: int) -> Iterator[Server]:
    """Serve an archive, from when it is ready.

    Raises:
        RuntimeError: the server did not start; the message is its output.
    """
    folder.mkdir()
    rest, grpc, metrics = map(str, free_ports(3))
    ports = ("--port", rest, "--grpc-port", grpc, "--metrics-port", metrics)
    with process(command, "serve", archive, *ports, "--workers", str(workers), folder=folder) as started:
        out = folder / f"{command.name}.log"
        waited(START_S, lambda: "Ctrl-C" in out.read_text() or started.poll() is not None)
        if "Ctrl-C" not in out.read_text():
            raise RuntimeError(f"The server did not start: {out.read_text()}")
        yield Server(started.pid, f"http://127.0.0.1:{rest}/", f"127.0.0.1:{metrics}")
