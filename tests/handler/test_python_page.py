"""The examples of docs/how-to/python.md, run as they stand."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.documentation import run_by
from tests.zoo import ROOT

BLOCKS = run_by(__file__)


def printed(text: str) -> list[str]:
    done = subprocess.run([sys.executable, "-c", text], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_every_file_gets_its_label() -> None:
    (block,) = [block for block in BLOCKS if "serving/samples" in block.text and "glob" in block.text]
    lines = printed(block.text)
    assert len(lines) == len(list((ROOT / "serving" / "samples").glob("*/*.jpg")))
    right = [line for line in lines if Path(line.split()[0]).parent.name == line.split()[1]]
    assert len(right) >= len(lines) - 1


def test_a_batch_gets_its_probabilities() -> None:
    (block,) = [block for block in BLOCKS if "warm_up" in block.text]
    (line,) = printed(block.text)
    assert line.startswith("['cat', 'dog'] (8, 2) ")
    assert line.endswith(" fp32")


@pytest.mark.usefixtures("archive")
def test_an_archive_is_unpacked_and_answers() -> None:
    (block,) = [block for block in BLOCKS if "unpack(" in block.text]
    assert printed(block.text) == ["dog"]
