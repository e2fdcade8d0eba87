import subprocess
import sys
from pathlib import Path

import pytest

from handler.files import UserError
from handler.runtimes.choice import by_preference
from serving.server.runtimes import BATCHES, time_runtimes
from tests.archives import read_members, write_archive


def test_every_runtime_is_timed_for_every_batch_and_the_servers_choice_comes_first(archive: Path) -> None:
    progress: list[tuple[int, int]] = []
    timings = time_runtimes(archive, lambda done, total: progress.append((done, total)), rounds=2)
    assert [timing.name for timing in timings] == [runtime.name for runtime in by_preference() if not runtime.gpu]
    for timing in timings:
        assert list(timing.milliseconds) == list(BATCHES)
        assert all(taken > 0 for taken in timing.milliseconds.values())
    assert progress == [(0, 2), (1, 2), (2, 2)]


def test_an_archive_that_nothing_here_runs_is_one_sentence(archive: Path, tmp_path: Path) -> None:
    members = {name: data for name, data in read_members(archive).items() if not name.startswith("model.")}
    bare = write_archive(tmp_path / "bare.mar", members)
    with pytest.raises(UserError, match="No runtime that is installed here can run"):
        time_runtimes(bare, lambda done, total: None)


def test_the_verb_prints_a_row_for_each_runtime(archive: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "catsdogs", "runtimes", str(archive)], capture_output=True, text=True, check=True
    )
    assert "mnn" in done.stdout
    assert "ort" in done.stdout
