"""A real TorchServe worker process, spoken to as TorchServe's front end does: what it takes can be measured alone."""

import importlib.util
import json
import os
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

from tests.zoo import ROOT

START_S = 60
TORCHSERVE = importlib.util.find_spec("ts")


class Worker:
    """One worker that has loaded the model of an unpacked archive.

    Args:
        folder: a short path for its socket and its log.
    """

    def __init__(self, unpacked: Path, folder: Path, batch_size: int = 4, **environment: str) -> None:
        assert TORCHSERVE is not None
        assert TORCHSERVE.origin is not None
        home = Path(TORCHSERVE.origin).parent
        self.log = folder / "worker.log"
        path = folder / "w.9000"
        standin = "" if importlib.util.find_spec("torch") else str(ROOT / "serving" / "server" / "standin")
        command = [sys.executable, "-P", str(home / "model_service_worker.py"), "--sock-type", "unix"]
        command += ["--sock-name", str(path), "--metrics-config", str(home / "configs" / "metrics.yaml")]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                command,
                stdout=subprocess.DEVNULL,
                stderr=log,
                cwd=unpacked,
                env={
                    **os.environ,
                    "PYTHONPATH": os.pathsep.join([str(unpacked), str(home.parent), standin]),
                    "OMP_NUM_THREADS": "1",
                    "TS_DECODE_INPUT_REQUEST": "false",
                    **environment,
                },
            )
        self.socket = socket.socket(socket.AF_UNIX)
        self._connect(path)
        values: list[bytes | int] = [b"catsdogs", str(unpacked).encode(), batch_size, b"catsdogs_handler.py", -1, b""]
        self.socket.sendall(b"L" + b"".join(map(_packed, values)) + b"\1")
        status, message, _ = self._answer()
        assert status == 200, (message, self.log.read_text())

    def _connect(self, path: Path) -> None:
        until = time.monotonic() + START_S
        while True:
            try:
                return self.socket.connect(str(path))
            except (FileNotFoundError, ConnectionRefusedError):
                assert self.process.poll() is None, self.log.read_text()
                assert time.monotonic() < until, "the worker does not listen"
                time.sleep(0.02)

    def ask(
        self, bodies: Sequence[bytes], headers: Sequence[Mapping[str, str]] | None = None
    ) -> list[tuple[int, dict[str, object]]]:
        """One batch: status and document of each row."""
        request = [b"I"]
        for number, body in enumerate(bodies):
            sent = {"explain": "False", **(headers[number] if headers else {})}
            request.append(_packed(f"request-{number}".encode()))
            for name, value in sent.items():
                request += [_packed(name.encode()), _packed(value.encode())]
            request += [_packed(-1), _packed(b"body"), _packed(b""), _packed(body), _packed(-1)]
        for part in [*request, _packed(-1)]:
            self.socket.sendall(part)
        status, message, rows = self._answer()
        assert status == 200, message
        assert len(rows) == len(bodies)
        return [(code, json.loads(body)) for code, body in rows]

    def _answer(self) -> tuple[int, bytes, list[tuple[int, bytes]]]:
        status, message, rows = self._number(), self._bytes(), []
        while (length := self._number()) != -1:
            self._exactly(length)  # the request's id
            self._bytes()  # the content type
            code = self._number()
            self._bytes()  # the phrase
            for _ in range(self._number()):
                self._bytes(), self._bytes()
            rows.append((code, self._bytes()))
        return status, message, rows

    def _number(self) -> int:
        (number,) = struct.unpack("!i", self._exactly(4))
        return int(number)

    def _bytes(self) -> bytes:
        return self._exactly(self._number())

    def _exactly(self, length: int) -> bytes:
        data = bytearray()
        while len(data) < length:
            part = self.socket.recv(length - len(data))
            assert part, f"the worker is gone: {self.process.wait(10)}\n{self.log.read_text()[-2000:]}"
            data += part
        return bytes(data)

    def status(self, name: str) -> int:
        """Bytes: VmHWM is the most that the process had since `forget_peak`, RssAnon and RssFile what it has."""
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        (kib,) = [line.split()[1] for line in lines if line.startswith(f"{name}:")]
        return 1024 * int(kib)

    def forget_peak(self) -> None:
        Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")

    def peak(self) -> int:
        """Bytes of anonymous memory at the most; pages of files can be taken from a process, and do not count."""
        return self.status("VmHWM") - self.status("RssFile")

    def close(self) -> None:
        self.socket.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def _packed(value: bytes | int) -> bytes:
    if isinstance(value, int):
        return struct.pack("!i", value)
    return struct.pack("!i", len(value)) + value
