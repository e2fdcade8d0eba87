"""The git revision of a checkout."""

import subprocess
from pathlib import Path

import pytest

from common.git import revision


def git(folder: Path, *words: str) -> str:
    author = ["-c", "user.name=a", "-c", "user.email=a@b"]
    command = ["git", *author, *words]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


def test_the_commit_is_named_with_whether_files_differ_from_it(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    (tmp_path / "file").write_text("one")
    git(tmp_path, "add", "file")
    git(tmp_path, "commit", "-q", "-m", "first")
    commit = git(tmp_path, "rev-parse", "HEAD")
    assert (revision(tmp_path), revision(tmp_path, digits=12)) == (commit, commit[:12])
    (tmp_path / "file").write_text("two")
    assert revision(tmp_path) == f"{commit}-dirty"


def test_a_folder_that_is_no_checkout_has_no_revision(tmp_path: Path) -> None:
    assert revision(tmp_path) is None


def test_without_git_there_is_no_revision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".git").mkdir()
    monkeypatch.setenv("PATH", "")
    assert revision(tmp_path) is None
