"""actionlint and zizmor find nothing in the workflows, and find faults that are planted."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.workflows.support import FOLDER, WORKFLOWS
from tests.zoo import ROOT

ZIZMOR = ROOT / ".venv-workflows" / "bin" / "zizmor"
SHELLCHECK = ROOT / ".venv-workflows" / "bin" / "shellcheck"
ACTIONLINT = ROOT / "build" / "tools" / "actionlint"
needs_go = pytest.mark.skipif(not ACTIONLINT.exists(), reason="make workflows builds it where there is Go")
CI = (FOLDER / "workflows" / "ci.yml").read_text()


def zizmor(place: Path) -> "subprocess.CompletedProcess[str]":
    command = [str(ZIZMOR), "--offline", "--no-progress", "--format=plain", str(place)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


def actionlint(*files: Path) -> "subprocess.CompletedProcess[str]":
    command = [str(ACTIONLINT), "-shellcheck", str(SHELLCHECK), "-no-color", *map(str, files)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


def plant(folder: Path, old: str, new: str) -> Path:
    """Write the workflow ci.yml with a fault in it."""
    assert old in CI
    path = folder / ".github" / "workflows" / "ci.yml"
    path.parent.mkdir(parents=True)
    shutil.copy(FOLDER / "zizmor.yml", path.parent.parent)
    path.write_text(CI.replace(old, new, 1))
    return path


def test_zizmor_finds_nothing() -> None:
    done = zizmor(FOLDER)
    assert done.returncode == 0, done.stdout + done.stderr


@needs_go
def test_actionlint_finds_nothing() -> None:
    done = actionlint(*WORKFLOWS)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("old", "new", "rule"),
    [
        ("    permissions:\n      contents: read\n", "    permissions: write-all\n", "excessive-permissions"),
        ("        with:\n          persist-credentials: false\n", "", "artipacked"),
        ("      - run: make lint\n", "      - run: echo ${{ github.head_ref }}\n", "template-injection"),
        ("  pull_request:\n", "  pull_request_target:\n", "dangerous-triggers"),
        ("@df4cb1c069e1874edd31b4311f1884172cec0e10 # v6.0.3", "@v6", "unpinned-uses"),
    ],
)
def test_zizmor_finds_a_fault(old: str, new: str, rule: str, tmp_path: Path) -> None:
    done = zizmor(plant(tmp_path, old, new))
    assert done.returncode != 0
    assert rule in done.stdout


@needs_go
@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("needs: [loadtest, coverage]", "needs: [loadtest, nothing]", "nothing"),
        ("${{ matrix.image }})", "${{ matrix.picture }})", "picture"),
        ("runs-on: ubuntu-24.04\n", "runs-on: ubuntu-3.11\n", "ubuntu-3.11"),
        ('test "$FAILED" = false', "test $FAILED = false", "SC2086"),
    ],
)
def test_actionlint_finds_a_fault(old: str, new: str, message: str, tmp_path: Path) -> None:
    done = actionlint(plant(tmp_path, old, new))
    assert done.returncode != 0
    assert message in done.stdout
