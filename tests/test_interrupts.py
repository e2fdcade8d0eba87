"""Ctrl-C in every verb, at several moments: one sentence, and the exit status of a command that was interrupted."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import catsdogs

ROOT = Path(__file__).parents[1]
# Starts the command, and sends itself Ctrl-C as the n-th module is imported, or the n-th file opened.
INTERRUPTED = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
import catsdogs

event, fatal = sys.argv[1], int(sys.argv[2])
done, mine = 0, os.getpid()


def audit(name, arguments):
    global done
    if name == event and os.getpid() == mine:
        done += 1
        if done == fatal:
            os.kill(mine, signal.SIGINT)


sys.addaudithook(audit)
sys.argv = ["catsdogs", *sys.argv[3:]]
catsdogs.main()
"""
# Each gets as far as its imports, and would then refuse what is not there.
ARGUMENTS = {
    "prepare": ["nowhere"],
    "audit": ["--data", "nowhere"],
    "train": ["--data", "nowhere"],
    "average": ["nowhere", "nowhere", "--data", "nowhere", "--run", "nowhere"],
    "evaluate": ["--data", "nowhere"],
    "sweep": ["--data", "nowhere", "--set", "train.epochs=1,2"],
    "cv": ["--data", "nowhere"],
    "compare": ["nowhere.pt", "nowhere.mar"],
    "export": ["--data", "nowhere", "--version", "1"],
    "package": ["nowhere"],
    "sign": ["nowhere", "--key", "nowhere.pem"],
    "verify": ["nowhere", "--model-key", "nowhere.pem"],
    "quantise": ["nowhere", "--data", "nowhere"],
    "robustness": ["--data", "tests", "--release", "nowhere"],
    "unsure": ["--data", "tests", "--release", "nowhere"],
    "sizes": ["--data", "tests", "--release", "nowhere", "--sizes", "32"],
    "pipeline": ["nowhere"],
    "select": ["--data", "nowhere"],
    "promote": ["nowhere", "--data", "nowhere"],
    "rollback": ["--name", "nowhere"],
    "history": ["--data", "nowhere"],
    "predict": ["serving/samples", "--model", "nowhere.mar"],
    "explain": ["serving/samples", "--model", "nowhere.mar"],
    "merge": ["nowhere"],
    "image": ["grayscale", "nowhere.jpg", "--out", "gray.png"],
    "fetch": ["http://127.0.0.1:1/x.mar", "x.mar", "--sha256", "0" * 64],
    "check": ["--url", "http://127.0.0.1:1", "--wait", "30"],
    "feedback": ["review", "nowhere", "--out", "nowhere"],
    "loadtest": ["--url", "http://127.0.0.1:1"],
    "capacity": ["--url", "http://127.0.0.1:1"],
}


@pytest.mark.parametrize("moment", [3, 40])
@pytest.mark.parametrize("verb", ARGUMENTS)
def test_ctrl_c_is_one_sentence(tmp_path: Path, verb: str, moment: int) -> None:
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED, "import", str(moment), verb, *ARGUMENTS[verb]],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 130, done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith("catsdogs: Stopped.")
    assert done.stdout == ""


def test_what_is_kept_is_said_of_verbs_that_there_are() -> None:
    assert set(catsdogs.KEPT) <= set(catsdogs.VERBS)
    assert set(catsdogs.KEPT) <= set(ARGUMENTS)


def test_a_background_job_that_ignores_ctrl_c_goes_on() -> None:
    code = INTERRUPTED.replace("default_int_handler", "SIG_IGN")
    done = subprocess.run(
        [sys.executable, "-c", code, "import", "3", "package", "nowhere"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "nowhere" in done.stderr
