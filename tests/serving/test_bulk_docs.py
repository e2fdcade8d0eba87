"""The commands of docs/how-to/predict-many.md, in a folder of their own."""

import os
import subprocess
import sys
from pathlib import Path

from tests.documentation import run_by
from tests.zoo import ROOT


def test_the_commands_classify_the_samples(tmp_path: Path) -> None:
    for name in ("serving", "model-store"):
        (tmp_path / name).symlink_to(ROOT / name)
    said = ""
    for block in run_by(__file__):
        done = subprocess.run(
            ["sh", "-ec", block.text],
            cwd=tmp_path,
            env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        said += done.stdout
    assert "1 of 1 shards are complete: 16 pictures; " in said
    assert "2 of 2 shards are complete: 16 pictures; " in said
    assert len((tmp_path / "predictions.jsonl").read_text().splitlines()) == 16
