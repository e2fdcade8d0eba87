"""The sentences about workers, and how much TorchServe may write."""

import io
import json
import time
from pathlib import Path
from typing import Any

import pytest

from serving.server.java_process import LOG_BURST, pump
from serving.server.workers import MAX_LINES, Bounded, WorkerLog, describe_exit

KILLED = {"pid": 7, "exit": -9, "by_frontend": False, "memory_kill": False}


@pytest.fixture
def lines() -> list[str]:
    return []


@pytest.fixture
def log(tmp_path: Path, lines: list[str]) -> WorkerLog:
    return WorkerLog(tmp_path / "records", tmp_path, lines.append)


def beat(folder: Path, pid: int, busy_since: float | None = None) -> None:
    (folder / f"{pid}.json").write_text(json.dumps({"pid": pid, "time": time.time(), "busy_since": busy_since}))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({}, "Worker 7 ended by signal 9 (SIGKILL), not for lack of memory. TorchServe starts another."),
        ({"memory_kill": None}, "Worker 7 ended by signal 9 (SIGKILL). TorchServe starts another."),
        (
            {"memory_kill": True},
            "Worker 7 was killed by the kernel for lack of memory (SIGKILL). TorchServe starts another. "
            "Raise the memory limit, or lower the number of workers.",
        ),
        ({"exit": -11}, "Worker 7 ended by signal 11 (SIGSEGV). TorchServe starts another."),
        ({"exit": 1}, "Worker 7 ended with status 1. TorchServe starts another."),
        ({"by_frontend": True}, "Worker 7 was killed by TorchServe. TorchServe starts another."),
    ],
)
def test_each_end_of_a_worker_is_a_sentence(
    tmp_path: Path, log: WorkerLog, lines: list[str], change: dict[str, Any], sentence: str
) -> None:
    beat(tmp_path, 7)
    log.tell([{**KILLED, **change}])
    assert lines == [sentence]


def test_a_worker_whose_process_froze_hung_as_well(tmp_path: Path, log: WorkerLog, lines: list[str]) -> None:
    beat(tmp_path, 7)
    path = tmp_path / "7.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "time": time.time() - 12}))
    log.tell([{**KILLED, "by_frontend": True}])
    assert lines == ["Worker 7 hung: it sent no heartbeat for 12 s, and was killed. TorchServe starts another."]


def test_a_worker_that_hung_is_told_from_one_that_was_killed(tmp_path: Path, log: WorkerLog, lines: list[str]) -> None:
    beat(tmp_path, 7, busy_since=time.time() - 10)
    log.tell([{**KILLED, "by_frontend": True}])
    assert lines == ["Worker 7 hung: it did not answer a batch within 10 s, and was killed. TorchServe starts another."]


def test_a_worker_that_never_was_ready_says_why(tmp_path: Path, log: WorkerLog, lines: list[str]) -> None:
    (tmp_path / "failure.txt").write_text("Nothing can run the model")
    log.tell([{**KILLED, "exit": 1}])
    assert lines == [
        "Worker 7 ended with status 1 before it was ready: Nothing can run the model. TorchServe starts another."
    ]


def test_the_next_worker_is_told_of_and_the_first_ones_are_not(
    tmp_path: Path, log: WorkerLog, lines: list[str]
) -> None:
    beat(tmp_path, 7)
    log.tell([])
    assert lines == []
    log.tell([KILLED])
    beat(tmp_path, 8)
    log.tell([])
    log.tell([])
    assert lines[1:] == ["Worker 8 is ready, in place of one that ended."]


def test_records_are_read_once_and_only_when_they_are_whole(tmp_path: Path, log: WorkerLog) -> None:
    line = json.dumps(KILLED)
    assert log.read() == []
    (tmp_path / "records").write_text(f"{line}\n{line[:10]}")
    assert log.read() == [KILLED]
    assert log.read() == []
    (tmp_path / "records").write_text(f"{line}\n{line}\n")
    assert log.read() == [KILLED]


def test_workers_that_die_without_end_do_not_fill_the_log(lines: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    bounded = Bounded(lines.append)
    for number in range(1000):
        bounded(f"line {number}")
    assert len(lines) == MAX_LINES
    monkeypatch.setattr("serving.server.workers.WINDOW_S", -1.0)
    bounded("the next")
    assert lines[-2:] == [f"{1000 - MAX_LINES} lines like these were omitted.", "the next"]


@pytest.mark.parametrize(
    ("code", "description"), [(0, "with status 0"), (-15, "by signal 15 (SIGTERM)"), (-99, "by signal 99")]
)
def test_an_exit_is_described_in_words(code: int, description: str) -> None:
    assert describe_exit(code) == description


def test_what_torchserve_writes_passes_up_to_a_bound_and_the_rest_is_counted() -> None:
    written: list[bytes] = []
    pump(io.BytesIO(b"a line\n" * 1_000_000), written.append)
    *lines, note = written
    assert set(lines) == {b"a line\n"}
    assert 0.9 * LOG_BURST < sum(map(len, lines)) < 1.5 * LOG_BURST
    assert note == b"%d lines of TorchServe's log were left out.\n" % (1_000_000 - len(lines))


def test_a_line_without_end_passes_in_pieces_within_the_same_bound() -> None:
    written: list[bytes] = []
    pump(io.BytesIO(b"x" * 10_000_000), written.append)
    assert sum(map(len, written)) < 1.5 * LOG_BURST
