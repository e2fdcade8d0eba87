import statistics
import subprocess
import sys
import time

import pytest

from catsdogs import VERBS
from tests import zoo


def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "catsdogs", *arguments], cwd=zoo.ROOT, capture_output=True, text=True, timeout=60
    )


def test_help_names_every_verb() -> None:
    done = run("--help")
    assert done.returncode == 0
    assert all(verb in done.stdout for verb in VERBS)


def test_help_imports_nothing_heavy() -> None:
    code = "import sys, catsdogs; sys.argv = ['catsdogs', '--help']\ntry: catsdogs.main()\nexcept SystemExit: pass\n"
    code += "print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=zoo.ROOT, capture_output=True, text=True, check=True)
    loaded = {name.split(".")[0] for name in done.stdout.splitlines()[-1].split()}
    assert not loaded & {"numpy", "PIL", "torch", "MNN", "rich", "httpx", "yaml", "training", "serving"}


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help_without_its_packages(verb: str) -> None:
    done = run(verb, "--help")
    assert done.returncode == 0
    assert VERBS[verb][2] in " ".join(done.stdout.split())


@pytest.mark.parametrize("verb", ["train", "evaluate"])
def test_a_verb_whose_packages_are_missing_says_how_to_install_them(verb: str) -> None:
    code = "import sys, catsdogs; sys.modules['torch'] = sys.modules['pydantic'] = sys.modules['scipy'] = None\n"
    code += f"sys.argv = ['catsdogs', '{verb}', '--data', '/']; catsdogs.main()"
    done = subprocess.run([sys.executable, "-c", code], cwd=zoo.ROOT, capture_output=True, text=True)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert "pip install --require-hashes -r requirements/train.txt" in done.stderr


@pytest.mark.slow
def test_help_comes_within_four_tenths_of_a_second() -> None:
    times = []
    for _ in range(7):
        started = time.perf_counter()
        run("--help")
        times.append(time.perf_counter() - started)
    assert statistics.median(times) < 0.4
