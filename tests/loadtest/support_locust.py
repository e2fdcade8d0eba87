"""Locust, run as people run it, against stubs."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from PIL import Image

from loadtest.defaults import PROTOCOLS, SLO
from loadtest.judge.summary import Row, Summary

ROOT = Path(__file__).resolve().parents[2]
LOCUSTFILE = ROOT / "loadtest" / "locustfile.py"
SERVER = ROOT / ".venv" / "bin" / "catsdogs"


@contextmanager
def stub(*options: str) -> Iterator[str]:
    """The URL of a server of tests/loadtest/stub.py."""
    command = [sys.executable, "-m", "tests.loadtest.stub", *options]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            yield f"http://127.0.0.1:{int(server.stdout.readline())}"
        finally:
            server.terminate()


def make_slo(
    folder: Path, threshold: float = 10, objective: float = 0.99, availability: float = 0.99, **gate: Any
) -> Path:
    """Write the shipped slo.yaml with these objectives for all protocols, and with a gate `brief`.

    The threshold is high unless it matters, so that a busy machine does not make the generator too slow.
    """
    values = yaml.safe_load(SLO.read_text())
    values["objectives"]["latency"] = {name: {"threshold": threshold, "objective": objective} for name in PROTOCOLS}
    values["objectives"]["availability"]["objective"] = availability
    brief = {
        "shape": "steady",
        "protocols": ["rest"],
        "rate": 20,
        "duration": "5s",
        "warmup": "1s",
        "confidence": 0.95,
        "asserts": "sample",
        "max_lag": 1,
    }
    values["gates"] = {"brief": {**brief, **gate}}
    values["capacity"] |= {"trial": "5s", "warmup": "1s", "confirm": "5s", "confirm_runs": 2}
    path = folder / "slo.yaml"
    path.write_text(yaml.safe_dump(values))
    return path


def unlabelled(folder: Path) -> Path:
    """Pictures for a stub, which knows no cat from a dog."""
    pictures = folder / "pictures"
    pictures.mkdir(parents=True, exist_ok=True)
    for number in range(3):
        Image.new("RGB", (60 + number, 40), (number, 90, 120)).save(pictures / f"{number}.jpg")
    return pictures


@dataclass
class Done:
    status: int
    stderr: str
    out: Path
    stdout: str
    """On standard output."""

    @property
    def summary(self) -> Summary:
        return Summary.model_validate(json.loads((self.out / "summary.json").read_text()))

    def row(self, name: str = "rest", stage: str = "all") -> Row:
        return next(row for row in self.summary.rows if (row.name, row.stage) == (name, stage))


def locust_command(folder: Path, url: str, *options: str, pictures: Path | None = None) -> list[str]:
    return [
        *(sys.executable, "-m", "locust", "-f", str(LOCUSTFILE), "--headless", "--only-summary", "--host", url),
        *("--loglevel", "WARNING", "--out", str(folder / "out"), "--pictures", str(pictures or unlabelled(folder))),
        *options,
    ]


def locust(folder: Path, url: str, *options: str, pictures: Path | None = None, timeout_s: float = 300) -> Done:
    return run(folder, locust_command(folder, url, *options, pictures=pictures), timeout_s=timeout_s)


def catsdogs(folder: Path, *options: str, env: dict[str, str] | None = None, timeout_s: float = 300) -> Done:
    """The verb loadtest, or capacity."""
    return run(folder, [sys.executable, "-m", "catsdogs", *options], env, timeout_s)


def run(folder: Path, command: Sequence[str], env: dict[str, str] | None = None, timeout_s: float = 300) -> Done:
    environment = os.environ | (env or {})
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=timeout_s, check=False
    )
    return Done(done.returncode, done.stderr, folder / "out", done.stdout)
