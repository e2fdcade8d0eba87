"""Pictures for the tests of `catsdogs predict --out`, and the rows that it writes."""

import io
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

from tests import zoo

Rows = dict[str, dict[str, Any]]


def pictures(folder: Path, count: int = 24) -> Path:
    """A folder of copies of the samples in two folders: cats and dogs by turns."""
    samples = [path.read_bytes() for path in sorted(zoo.SAMPLES.rglob("*.jpg"))]
    for number in range(count):
        file = folder / f"{number % 2}" / f"{number:03d}.jpg"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(samples[number % len(samples)])
    return folder


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "catsdogs", "predict", *map(str, arguments)]


def environment(**variables: str) -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", **variables}


def run(*arguments: object, status: int = 0, **variables: str) -> str:
    """Run `catsdogs predict`, and return what it says."""
    done = subprocess.run(
        command(*arguments), cwd=zoo.ROOT, env=environment(**variables), capture_output=True, text=True, timeout=120
    )
    assert done.returncode == status, done.stderr
    assert done.stdout == ""
    return done.stderr


def rows(out: Path) -> Rows:
    """The rows of all parts by their paths, each of which must be there once."""
    found: Rows = {}
    for part in sorted(out.glob("part-*.jsonl")):
        for line in part.read_text().splitlines():
            row = json.loads(line)
            assert row["path"] not in found, f"{row['path']} has two rows"
            found[row.pop("path")] = row
    return found


def tar_of(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return buffer.getvalue()
