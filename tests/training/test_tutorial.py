"""The tutorial docs/tutorials/experiments-to-production.md, followed block by block on the given pictures."""

import json
import os
import random
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from common.ports import free_ports
from tests.documentation import Block, run_by
from tests.zoo import ROOT

PICTURES = Path(os.environ.get("CATSDOGS_PICTURES", ""))
COUNT = 400  # of each class
REFUSED = 10


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """A folder that looks like a clone: the pictures, the samples and the environment."""
    for label in ("Cat", "Dog"):
        (tmp_path / "pictures" / label).mkdir(parents=True)
        for path in random.Random(7).sample(sorted((PICTURES / label).glob("*.jpg")), COUNT):
            shutil.copy(path, tmp_path / "pictures" / label)
    (tmp_path / "serving").symlink_to(ROOT / "serving")
    (tmp_path / ".venv-train").symlink_to(ROOT / ".venv-train")
    return tmp_path


class Reader:
    """Somebody who follows the tutorial: the terminal of its commands, and a second one with the server.

    Its server has free ports, since the default ones may be taken.
    """

    def __init__(self, work: Path) -> None:
        self.work = work
        self.port, *self.others = free_ports(3)
        bin_folder = ROOT / ".venv-train" / "bin"
        self.environment = {**os.environ, "PATH": f"{bin_folder}:{os.environ['PATH']}", "CATSDOGS_WHO": "a reader"}

    def text(self, block: Block) -> str:
        return block.text.replace("127.0.0.1:8080", f"127.0.0.1:{self.port}")

    def run(self, block: Block, exit_code: int = 0) -> str:
        """Return what the block's commands print, on both streams."""
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", self.text(block)],
            cwd=self.work,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=3600,
        )
        assert done.returncode == exit_code, done.stdout
        return done.stdout

    @contextmanager
    def serve(self, block: Block) -> Iterator[None]:
        rest, grpc, metrics = self.port, *self.others
        ports = f"--port {rest} --grpc-port {grpc} --metrics-port {metrics}"
        child = subprocess.Popen(
            ["bash", "-c", f"exec {self.text(block).strip()} {ports}"],
            cwd=self.work,
            env=self.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        assert child.stderr is not None
        try:
            for line in child.stderr:
                if line.startswith("Ready after"):
                    break
            else:
                pytest.fail(f"the server did not start: status {child.wait()}")
            yield
        finally:
            child.send_signal(signal.SIGTERM)
            child.communicate(timeout=60)


@pytest.mark.slow
@pytest.mark.pictures
def test_the_tutorial_leads_to_a_promotion_a_refusal_and_a_rollback(work: Path) -> None:
    reader = Reader(work)
    prepare, first, serve, ask, runs, select, promote, worse, rollback, history = run_by(__file__)
    reader.run(prepare)
    reader.run(first)
    with reader.serve(serve):
        assert json.loads(reader.run(ask))["model"]["version"] == "1.0.0"
        reader.run(runs)
        assert "validation accuracy" in reader.run(select)
        assert (work / "runs" / "best").resolve().parent == (work / "runs").resolve()
        output = reader.run(promote)
        assert "PASS" in output
        assert "answers by pets version 2 (release 2.0.0)" in output
        assert json.loads(reader.run(ask))["model"]["version"] == "2.0.0"

        assert "BREACH" in reader.run(worse, exit_code=REFUSED)
        records = sorted((work / "model-store" / "promotions" / "pets").iterdir())
        assert json.loads((records[-1] / "record.json").read_text())["verdict"] == "BREACH"
        assert (records[-1] / "differences.jpg").stat().st_size > 0
        assert json.loads(reader.run(ask))["model"]["version"] == "2.0.0"

        output = reader.run(rollback)
        match = re.search(r"answers by pets version 1 \(release 1.0.0\), ([\d.]+) s after the command started", output)
        assert match
        assert float(match[1]) <= 60
        assert json.loads(reader.run(ask))["model"]["version"] == "1.0.0"
    reader.run(history)
    report = json.loads((work / "runs" / "history" / "history.json").read_text())
    assert [version["version"] for version in report["versions"]] == [1, 2, 3]
    assert (work / "runs" / "history" / "history.png").stat().st_size > 0
