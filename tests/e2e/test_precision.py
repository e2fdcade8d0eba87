"""The precision of a server, as docs/how-to/precision.md sets it."""

import json
import shlex
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from serving.server.runtimes import time_runtimes
from tests import zoo
from tests.documentation import run_by
from tests.e2e.support import PATH, command
from tests.runtimes import chosen_for


def test_the_documented_command_serves_the_precision_that_it_names(archive: Path) -> None:
    (line,) = (line for block in run_by(__file__) for line in block.commands)
    program, verb, *options = shlex.split(line)
    assert (program, verb) == ("catsdogs", "serve")
    with command(str(archive), *options) as (_, port, _):
        answer = httpx.post(f"http://127.0.0.1:{port}{PATH}", content=zoo.CAT.read_bytes(), trust_env=False, timeout=30)
    assert answer.json()["model"]["precision"] == options[options.index("--precision") + 1] == "fp32"


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_predict_takes_it_without_a_server(archive: Path, precision: str) -> None:
    arguments = ["predict", str(zoo.CAT), "--model", str(archive), "--json", "--precision", precision]
    done = subprocess.run([sys.executable, "-m", "catsdogs", *arguments], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["model"]["precision"] == precision


def test_the_default_is_what_runtimes_says_is_chosen(archive: Path) -> None:
    (chosen,) = (timing for timing in time_runtimes(archive, lambda done, total: None, rounds=1) if timing.chosen)
    wanted = chosen_for(archive)
    assert (chosen.name, chosen.precision) == (wanted.runtime.name, wanted.precision)
