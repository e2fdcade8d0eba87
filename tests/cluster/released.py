"""The chart of the last release, from git's history."""

import io
import subprocess
import tarfile
from pathlib import Path

import yaml

from tests.zoo import ROOT

# The chart's 0.1.0.
COMMIT, VERSION = "5d6c5247bfb988c2d380dc9e214675c75953f3d6", "0.1.0"


def unpack(folder: Path) -> Path:
    """Its folder, below this one."""
    done = subprocess.run(["git", "archive", COMMIT, "helm"], cwd=ROOT, capture_output=True)
    assert done.returncode == 0, (
        f"The chart {VERSION} is in git's commit {COMMIT[:7]}, which is not here: get the whole history by "
        f"`git fetch --unshallow`. {done.stderr.decode().strip()}"
    )
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        archive.extractall(folder, filter="data")
    assert yaml.safe_load((folder / "helm" / "Chart.yaml").read_text())["version"] == VERSION
    return folder / "helm"
