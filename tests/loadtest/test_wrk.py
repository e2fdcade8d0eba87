"""An independent tool sees the same: wrk, against a server that sleeps, in a closed loop."""

import re
import shutil
import statistics
import subprocess
from pathlib import Path

import pytest

from tests.loadtest.support_locust import locust, stub

pytestmark = pytest.mark.slow

CONNECTIONS, SLEEP, SECONDS = 10, 0.1, 8
SCRIPT = 'wrk.method = "POST"\nwrk.body = string.rep("x", 1000)\n'


def by_wrk(folder: Path, url: str) -> float:
    """Answers per second."""
    wrk = shutil.which("wrk")
    assert wrk, "This test compares with wrk: apt install wrk."
    script = folder / "post.lua"
    script.write_text(SCRIPT)
    command = [wrk, "-t1", f"-c{CONNECTIONS}", f"-d{SECONDS}s", "-s", str(script), f"{url}/predictions/catsdogs"]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    match = re.search(r"Requests/sec:\s+([\d.]+)", output)
    assert match, output
    return float(match[1])


def by_ours(folder: Path, url: str) -> float:
    options = ("--users", str(CONNECTIONS), "--spawn-rate", str(CONNECTIONS), "--rate-per-user", "1000")
    done = locust(folder, url, *options, "--loop", "closed", "--run-time", f"{SECONDS}s")
    assert done.status == 0, done.stderr
    return done.row().answered_rate


def test_throughput_is_that_of_wrk_within_ten_percent(tmp_path: Path) -> None:
    with stub("--sleep", str(SLEEP)) as url:
        measured = [(by_wrk(tmp_path, url), by_ours(tmp_path, url)) for _ in range(3)]
    wrk, ours = (statistics.median(rates) for rates in zip(*measured, strict=True))
    assert wrk == pytest.approx(CONNECTIONS / SLEEP, rel=0.1)
    assert ours == pytest.approx(wrk, rel=0.1)
