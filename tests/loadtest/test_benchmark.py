"""Benchmarks stop what they started, whatever ends them."""

import argparse
import signal
import subprocess
import sys

import pytest

from handler.files import UserError
from loadtest.benchmark import run_benchmark
from tests.zoo import ROOT

SCRIPT = """
import argparse, contextlib, time
from loadtest.benchmark import run_benchmark

@contextlib.contextmanager
def server():
    try:
        yield
    finally:
        print("server stopped", flush=True)

def run(options):
    with server():
        print("running", flush=True)
        time.sleep(60)
    return 0

raise SystemExit(run_benchmark(run, argparse.Namespace()))
"""


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_stops_the_servers(number: signal.Signals, status: int) -> None:
    # As a shell starts its background jobs.
    ignoring = f"import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)\n{SCRIPT}"
    with subprocess.Popen([sys.executable, "-c", ignoring], cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "running\n"
        process.send_signal(number)
        assert process.communicate(timeout=20)[0] == "server stopped\n"
    assert process.returncode == status


def test_a_users_mistake_ends_with_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    def run(options: argparse.Namespace) -> int:
        raise UserError("--rounds must be 1 or more.")

    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    try:
        assert run_benchmark(run, argparse.Namespace()) == 2
    finally:
        for number, handler in zip((signal.SIGINT, signal.SIGTERM), before, strict=True):
            signal.signal(number, handler)
    assert capsys.readouterr().err == "catsdogs: --rounds must be 1 or more.\n"
