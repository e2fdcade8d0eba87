"""A registry on a real MLflow server, and what is served from it: by `serve --follow`, and by address to the chart."""

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from common.ports import free_ports
from handler.files import sha256_file
from tests.e2e.support import command
from tests.training.train_support import draw_manifest, tiny
from tests.zoo import ROOT
from training.learning.checkpoint import load_checkpoint
from training.learning.train import train
from training.registry.chart import nested
from training.release.export import export

LOOSE = ("--margin", "20", "--max-log-loss-increase", "5", "--max-slowdown", "50", "--max-growth", "3")
MLFLOW = ROOT / ".venv-mlflow" / "bin" / "mlflow"


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """data/, and two releases of the same run."""
    folder = tmp_path_factory.mktemp("served")
    many = draw_manifest(folder, {"train": 12, "val": 4, "test": 24})
    good = load_checkpoint(train(tiny("train.epochs=6"), many, folder / "run"))
    for version in ("1.0.0", "2.0.0"):
        export(good, many, folder / version, version, None, name="pets", run_id=f"run-{version}")
    return folder


@pytest.fixture(scope="module")
def address(work: Path) -> Iterator[str]:
    """The URL of a real MLflow server, which keeps the files too."""
    assert MLFLOW.exists(), "make .venv-mlflow/.installed"
    (port,) = free_ports(1)
    environment = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    storage = ("--backend-store-uri", f"sqlite:///{work}/server.db", "--artifacts-destination", str(work / "files"))
    child = subprocess.Popen(
        [str(MLFLOW), "server", *storage, "--host", "127.0.0.1", "--port", str(port), "--workers", "1"],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    url = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 180
        while not healthy(url):
            assert time.monotonic() < deadline, "MLflow's server did not start"
            assert child.poll() is None, "MLflow's server ended"
            time.sleep(0.2)
        yield url
    finally:
        os.killpg(child.pid, signal.SIGTERM)
        child.wait(60)


def healthy(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def command_line(work: Path, address: str, *arguments: str) -> str:
    """`catsdogs ARGUMENTS` as a process of its own, in `work`."""
    done = subprocess.run(
        [sys.executable, "-m", "catsdogs", *arguments],
        cwd=work,
        env={**os.environ, "PYTHONPATH": str(ROOT), "MLFLOW_TRACKING_URI": address},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
def test_a_rollback_is_served_within_a_minute_and_the_chart_fetches_the_same_archive(
    work: Path, address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, invoke: Callable[..., str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    monkeypatch.chdir(work)
    invoke("promote", "1.0.0", "--archive", "served.mar")
    shutil.copyfile(work / "served.mar", tmp_path / "first.mar")
    invoke("promote", "2.0.0", *LOOSE, "--archive", "served.mar")
    with command(str(work / "served.mar"), "--follow", "--workers", "1") as (child, port, _):
        url = f"http://127.0.0.1:{port}"
        output = command_line(work, address, "rollback", "--name", "pets", "--archive", "served.mar", "--url", url)
        child.terminate()
        child.wait(60)
    match = re.search(r"answers by pets version 1 \(release 1.0.0\), ([\d.]+) s after the command started", output)
    assert match
    assert float(match[1]) <= 60
    assert sha256_file(work / "served.mar") == sha256_file(tmp_path / "first.mar")
    # What the chart's fetch step runs, with the values that are printed for it.
    (line,) = [line for line in output.splitlines() if line.startswith("To serve it by the chart: ")]
    values = dict(word.split("=", 1) for word in shlex.split(line) if word.startswith("model."))
    assert values["model.source"] == "http"
    invoke("fetch", values["model.http.url"], "fetched.mar", "--sha256", values["model.sha256"])
    assert sha256_file(work / "fetched.mar") == sha256_file(tmp_path / "first.mar")
    invoke("package", "models:/pets@champion", "--out", "made.mar")
    assert sha256_file(work / "made.mar") == sha256_file(tmp_path / "first.mar")
    # What champion.yml runs: the same archive, which is served and checked.
    ports = dict(zip(("PORT", "GRPC_PORT", "METRICS_PORT"), map(str, free_ports(3)), strict=True))
    program = str(Path(sys.executable).with_name("catsdogs"))
    done = subprocess.run(
        [ROOT / ".ci" / "champion", "pets", tmp_path / "checked.mar"],
        env={**os.environ, **ports, "CATSDOGS": program, "MLFLOW_TRACKING_URI": address},
        capture_output=True,
        text=True,
        timeout=300,
    )
    # It learned from drawings, so the check may end by photographs that it calls wrongly, after the recorded answers.
    for protocol in ("REST", "KServe v1", "KServe v2"):
        expected = f"ok    the golden pictures get the answers that the release recorded by {protocol}"
        assert expected in done.stdout + done.stderr
    assert sha256_file(tmp_path / "checked.mar") == sha256_file(tmp_path / "first.mar")
    # What it deploys the champion by is what rollback printed.
    written = yaml.safe_load((tmp_path / "values.yaml").read_text())
    assert written == nested({name: value for name, value in values.items() if name.startswith("model.")})
