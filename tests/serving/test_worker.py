"""Processes between TorchServe and a worker, and between the launcher and its children."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from serving.server import parent, worker
from tests.e2e.support import wait_for

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="Linux alone ends orphans")
SLEEP = [sys.executable, "-c", "import time; time.sleep(60)"]


@contextmanager
def recorded(records: Path, command: list[str]) -> Iterator["subprocess.Popen[bytes]"]:
    recorder = [sys.executable, "-I", "-S", worker.__file__, str(records), str(os.getpid())]
    child = subprocess.Popen([*recorder, *command])
    try:
        yield child
    finally:
        child.kill()
        child.wait()


def ended(records: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in records.read_text().splitlines()] if records.exists() else []


def command(process: psutil.Process) -> str:
    """Its command line; empty while the process executes another program, and when it has ended."""
    try:
        return " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return ""


def has_ended(process: psutil.Process) -> bool:
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def last(child: "subprocess.Popen[bytes]") -> psutil.Process:
    """The worker itself: below TorchServe's child, and below the recorder."""
    wait_for(lambda: any("sleep" in command(p) for p in descendants(child)[1:]), 10, "the worker")
    return descendants(child)[-1]


def descendants(child: "subprocess.Popen[bytes]") -> list[psutil.Process]:
    return psutil.Process(child.pid).children(recursive=True)


@pytest.mark.parametrize(
    ("code", "exit_code", "status"),
    [("pass", 0, 0), ("raise SystemExit(7)", 7, 7), ("import os; os.kill(os.getpid(), 11)", -11, 139)],
)
def test_how_a_worker_ended_is_recorded_and_passed_on(tmp_path: Path, code: str, exit_code: int, status: int) -> None:
    with recorded(tmp_path / "records", [sys.executable, "-c", code]) as child:
        assert child.wait(30) == status
    (record,) = ended(tmp_path / "records")
    assert (record["exit"], record["by_frontend"]) == (exit_code, False)
    assert record["memory_kill"] in (False, None)


def test_a_worker_that_torchserve_kills_ends_and_is_recorded_as_such(tmp_path: Path) -> None:
    with recorded(tmp_path / "records", SLEEP) as child:
        process = last(child)
        child.kill()
        wait_for(lambda: bool(ended(tmp_path / "records")), 10, "the record")
    (record,) = ended(tmp_path / "records")
    assert (record["pid"], record["by_frontend"]) == (process.pid, True)
    assert not process.is_running()


def test_a_process_is_ending_once_it_was_killed_and_before_anybody_has_waited_for_it() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        assert not worker.is_exiting(child.pid)
        child.kill()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert worker.is_exiting(child.pid)
    assert not worker.is_exiting(child.pid)


def test_a_worker_is_started_without_what_is_set_for_javas_memory(tmp_path: Path) -> None:
    out = tmp_path / "environment"
    code = f"import os; open({str(out)!r}, 'w').write(' '.join(os.environ))"
    recorder = [sys.executable, "-I", "-S", worker.__file__, str(tmp_path / "records"), str(os.getpid())]
    environment = {**os.environ, "MALLOC_ARENA_MAX": "2", "KEPT": "1"}
    subprocess.run([*recorder, sys.executable, "-c", code], env=environment, check=True, timeout=30)
    names = out.read_text().split()
    assert "KEPT" in names
    assert "MALLOC_ARENA_MAX" not in names


def test_a_recorder_whose_frontend_has_ended_starts_nothing(tmp_path: Path) -> None:
    out = tmp_path / "started"
    code = f"open({str(out)!r}, 'w')"
    recorder = [sys.executable, "-I", "-S", worker.__file__, str(tmp_path / "records"), "1"]
    done = subprocess.run([*recorder, sys.executable, "-c", code], timeout=30)
    assert done.returncode == 128 + signal.SIGKILL
    assert not out.exists()


def test_kills_for_lack_of_memory_are_counted_by_the_group_and_else_by_the_machine(tmp_path: Path) -> None:
    assert worker.memory_kills(str(tmp_path)) is not None
    (tmp_path / "memory.events").write_text("low 0\noom 4\noom_kill 3\n")
    assert worker.memory_kills(str(tmp_path)) == 3


def test_a_bound_command_ends_with_the_process_that_started_it() -> None:
    code = f"""
import subprocess, sys, time
from serving.server.parent import bound
print(subprocess.Popen(bound({SLEEP!r})).pid, flush=True)
time.sleep(60)
"""
    starter = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    try:
        assert starter.stdout is not None
        child = psutil.Process(int(starter.stdout.readline()))
        wait_for(lambda: "sleep" in command(child) and "parent.py" not in command(child), 10, "it runs")
        starter.kill()
        wait_for(lambda: has_ended(child), 10, "its end")
    finally:
        starter.kill()
        starter.communicate()


def test_a_command_that_is_not_there_is_one_sentence() -> None:
    done = subprocess.run(parent.bound(["/nowhere/command"]), capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stderr) == (1, "/nowhere/command cannot be run: No such file or directory\n")
