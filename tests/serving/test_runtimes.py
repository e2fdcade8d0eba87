import subprocess
import sys
from pathlib import Path

import pytest

from handler.files import UserError
from handler.runtimes.processor import instruction_sets, model_name, read_cpuinfo
from serving.server.runtimes import BATCHES, time_runtimes
from tests.archives import read_members, write_archive
from tests.runtimes import CHOICES


def test_every_runtime_and_precision_is_timed_for_every_batch_and_the_servers_choice_is_marked(archive: Path) -> None:
    progress: list[tuple[int, int]] = []
    timings = time_runtimes(archive, lambda done, total: progress.append((done, total)), rounds=2)
    assert sorted((timing.name, timing.precision) for timing in timings) == sorted(CHOICES)
    assert [timing.chosen for timing in timings].count(True) == 1
    for timing in timings:
        assert list(timing.milliseconds) == list(BATCHES)
        assert all(taken > 0 for taken in timing.milliseconds.values())
    assert progress == [(0, 2), (1, 2), (2, 2)]


def test_an_archive_that_nothing_here_runs_is_one_sentence(archive: Path, tmp_path: Path) -> None:
    members = {name: data for name, data in read_members(archive).items() if not name.startswith("model.")}
    bare = write_archive(tmp_path / "bare.mar", members)
    with pytest.raises(UserError, match="No runtime that is installed here can run"):
        time_runtimes(bare, lambda done, total: None)


def test_the_verb_prints_the_processor_and_a_row_for_each_runtime_and_precision(archive: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "catsdogs", "runtimes", str(archive)], capture_output=True, text=True, check=True
    )
    cpuinfo = read_cpuinfo()
    assert done.stdout.startswith(f"{model_name(cpuinfo)}: {', '.join(instruction_sets(cpuinfo))}")
    for name, precision in CHOICES:
        assert any(name in line and precision in line for line in done.stdout.splitlines()), (name, precision)
    assert "chosen" in done.stdout
    assert "is chosen: " in done.stderr
