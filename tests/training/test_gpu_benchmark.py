"""The benchmark of the GPU path, on the CPU of this machine: that its command works, and no figure of a GPU."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.benchmarks.gpu import ratios
from tests.benchmarks.gpu_subjects import rate
from tests.zoo import ROOT


def test_the_limit_is_the_slower_of_decoding_and_the_network() -> None:
    rates = {"decode": 100.0, "network": 1000.0, "eager": 500.0, "ours": 82.0, "stock": 41.0}
    assert ratios(rates) == pytest.approx({"graphs / eager": 2, "ours / limit": 0.82, "ours / stock": 2})
    rates = {"decode": 1000.0, "network": 100.0, "eager": 50.0, "ours": 82.0}
    assert ratios(rates) == pytest.approx({"graphs / eager": 2, "ours / limit": 0.82})


def test_only_work_of_the_measured_time_counts() -> None:
    done: list[float] = []

    def work() -> int:
        while time.monotonic() < (done[-1] if done else 0) + 0.01:
            pass
        done.append(time.monotonic())
        return 3

    begin = time.monotonic() + 0.1
    measured = rate(work, begin, begin + 0.1)
    counted = [moment for moment in done if moment > begin]
    assert len(counted) < len(done)
    # The batch that began before is not counted.
    assert measured == pytest.approx(3 * (len(counted) - 1) / (done[-1] - counted[0]), rel=0.05)


def test_a_batch_that_takes_longer_than_the_measured_time_counts() -> None:
    assert rate(lambda: 3, time.monotonic() - 2, time.monotonic() - 1) > 0


@pytest.mark.slow
def test_the_command_measures_our_handler_and_writes_its_figures(tmp_path: Path) -> None:
    out = tmp_path / "gpu.json"
    command = [sys.executable, "-m", "tests.benchmarks.gpu", "--processes", "1", "--rounds", "1", "--seconds", "0.5"]
    command += ["--without", "stock", "--out", str(out)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    report = json.loads(out.read_text())
    assert set(report["rates"]) == {"decode", "network", "eager", "ours"}
    assert set(report["ratios"]) == {"graphs / eager", "ours / limit"}
    assert "ours / limit" in done.stdout
