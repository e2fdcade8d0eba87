import subprocess
import sys
from pathlib import Path

import pytest

from handler.files import UserError
from handler.release import read_release
from training.release.scratch import put_in_place, scratch_beside

# Makes a folder of two files that belong together, and is killed before the n-th thing it does to the file system.
MAKER = """
import os, signal, sys
from pathlib import Path

from training.release.scratch import put_in_place, scratch_beside

target, content, fatal = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
done = 0


def audit(event, arguments):
    global done
    if event in ("open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "fcntl.flock"):
        done += 1
        if done == fatal:
            os.kill(os.getpid(), signal.SIGKILL)


sys.addaudithook(audit)
with scratch_beside(target) as made:
    (made / "one").write_text(content)
    (made / "two").write_text(content)
    put_in_place(made, target)
"""


def make(target: Path, content: str, fatal: int = 0) -> int:
    """The exit status of the maker; `fatal` 0 lets it live."""
    return subprocess.run(
        [sys.executable, "-c", MAKER, target, content, str(fatal)], cwd=Path(__file__).parents[2]
    ).returncode


def whole(target: Path) -> str:
    """Return the content of both files."""
    first, second = (target / "one").read_text(), (target / "two").read_text()
    assert first == second
    assert sorted(path.name for path in target.iterdir()) == ["one", "two"]
    return first


def test_a_kill_at_any_moment_leaves_the_old_folder_or_the_new_one_and_the_next_run_mends_all(tmp_path: Path) -> None:
    target = tmp_path / "release"
    seen: set[str] = set()
    assert make(target, "old") == 0
    for fatal in range(1, 100):
        if make(target, "new", fatal) == 0:
            break
        if target.exists():
            seen.add(whole(target))
        else:
            seen.add("between")
            with pytest.raises(UserError, match=r"an export was killed as it replaced it\. Export once more"):
                read_release(target)
        assert make(target, "old") == 0
        assert whole(target) == "old"
        assert [path.name for path in tmp_path.iterdir()] == ["release"]
    assert fatal > 10
    assert whole(target) == "new"
    assert seen == {"old", "between", "new"}


def test_a_folder_that_was_only_moved_away_is_back_where_the_next_run_fails(tmp_path: Path) -> None:
    target = tmp_path / "release"
    (tmp_path / ".release.new" / "old").mkdir(parents=True)
    (tmp_path / ".release.new" / "old" / "one").write_text("kept")
    with pytest.raises(ZeroDivisionError), scratch_beside(target):
        raise ZeroDivisionError
    assert (target / "one").read_text() == "kept"
    assert [path.name for path in tmp_path.iterdir()] == ["release"]


def test_a_failure_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), scratch_beside(tmp_path / "release") as made:
        (made / "one").rename(made / "nowhere" / "two")
    assert list(tmp_path.iterdir()) == []


def test_an_interrupt_between_the_two_renames_brings_the_old_folder_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "release"
    target.mkdir()
    (target / "one").write_text("old")
    rename = Path.rename

    def interrupted(self: Path, to: Path) -> Path:
        if self.name == "made":
            raise KeyboardInterrupt
        return rename(self, to)

    monkeypatch.setattr(Path, "rename", interrupted)
    with pytest.raises(KeyboardInterrupt), scratch_beside(target) as made:
        put_in_place(made, target)
    assert (target / "one").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["release"]


def test_two_processes_do_not_make_the_same_thing(tmp_path: Path) -> None:
    target = tmp_path / "release"
    with scratch_beside(target) as made:
        with pytest.raises(UserError, match=r"Another process is writing .*release: wait for it, or stop it"):
            scratch_beside(target).__enter__()
        (made / "one").write_text("whole")
        put_in_place(made, target)
    assert [path.name for path in target.iterdir()] == ["one"]
