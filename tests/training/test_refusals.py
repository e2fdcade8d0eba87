"""Refusals of `catsdogs export` that come before torch is imported, which takes long."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from handler.files import sha256_file
from tests.zoo import ROOT

# An import of torch would be a traceback.
EXPORT = """
import sys


class Refused:
    def find_spec(name, path=None, target=None):
        assert name != "torch"


sys.meta_path.insert(0, Refused)
import catsdogs

catsdogs.main()
"""
RELEASED = ROOT / "model-store" / "catsdogs" / "release.json"


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    """A run that was evaluated: 9 of 10 are right."""
    folder = tmp_path / "run"
    (folder / "evaluation").mkdir(parents=True)
    (folder / "best.pt").write_bytes(b"weights")
    figures = {"right": 90, "count": 100, "confusion": [[45, 5], [5, 45]]}
    report: dict[str, object] = {"split": "test", "classes": ["cat", "dog"], "slices": {"all": figures}}
    report["checkpoint_sha256"] = sha256_file(folder / "best.pt")
    (folder / "evaluation" / "report.json").write_text(json.dumps(report))
    return folder


def refusal(data: Path, run_folder: Path, out: Path, *options: str) -> str:
    arguments: list[str | Path] = ["export", "--data", data, "--run", run_folder, "--out", out, *options]
    done = subprocess.run([sys.executable, "-c", EXPORT, *arguments], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1, done.stderr
    error: str = done.stderr
    return error


def test_a_run_that_was_not_evaluated(data: Path, run_folder: Path, tmp_path: Path) -> None:
    (run_folder / "evaluation" / "report.json").unlink()
    assert "There are no figures on" in refusal(data, run_folder, tmp_path / "out", "--version", "1")


def test_a_run_without_a_checkpoint(data: Path, run_folder: Path, tmp_path: Path) -> None:
    (run_folder / "best.pt").unlink()
    assert "There is no checkpoint" in refusal(data, run_folder, tmp_path / "out", "--version", "1")


@pytest.mark.parametrize("options", [["--version", "a b"], ["--version", "1", "--name", "a b"]])
def test_a_name_or_version_that_is_none(data: Path, run_folder: Path, tmp_path: Path, options: list[str]) -> None:
    assert "must begin with a letter or digit" in refusal(data, run_folder, tmp_path / "out", *options)


def test_a_folder_that_is_no_release(data: Path, run_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("precious")
    assert "holds thesis.txt" in refusal(data, run_folder, tmp_path / "out", "--version", "1")


def test_a_version_that_another_checkpoint_has(data: Path, run_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    values = {**json.loads(RELEASED.read_bytes()), "version": "1", "checkpoint_sha256": "0" * 64}
    (tmp_path / "out" / "release.json").write_text(json.dumps(values))
    sentence = refusal(data, run_folder, tmp_path / "out", "--version", "1")
    assert "is version 1, made of another checkpoint" in sentence
    assert "--replace" in sentence
