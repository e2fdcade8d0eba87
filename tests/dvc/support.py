"""A project that DVC versions, shells in it, and SeaweedFS as its bucket."""

import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import yaml

from common.ports import free_ports
from tests.documentation import Block
from tests.training.conftest import draw_folders
from tests.training.train_support import tiny
from tests.zoo import ROOT

DVC = ROOT / ".venv-dvc" / "bin"
START_S = 60
# Options of `weed mini` that name the ports of what it starts.
PORTS = ("s3", "master", "volume", "filer", "admin")


def environment(**more: str) -> dict[str, str]:
    """Return variables with both environments on the path, and nothing of the user's git and AWS."""
    assert (DVC / "dvc").exists(), f"{DVC} is missing: run the tests by make, or `make .venv-dvc/.seaweedfs`"
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "GIT_"))}
    return {
        **kept,
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), str(DVC), os.environ["PATH"]]),
        "GIT_CONFIG_GLOBAL": os.devnull,
        **{f"GIT_{who}_{what}": "test@example.com" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
        "OMP_NUM_THREADS": "1",
        "COLUMNS": "200",
        **more,
    }


def shell(folder: Path, text: str, variables: Mapping[str, str]) -> str:
    """Run lines of a shell, and return what they print; the first that fails ends them."""
    done = subprocess.run(
        ["bash", "-e", "-c", text],
        cwd=folder,
        env=dict(variables),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=1500,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def make_project(folder: Path) -> Path:
    """Make a git repository with our files for DVC, forty drawn pictures of each class, and a tiny config."""
    (folder / "training").mkdir(parents=True)
    shutil.copytree(ROOT / ".dvc", folder / ".dvc", ignore=shutil.ignore_patterns("cache", "tmp", "config.local"))
    for name in (".dvcignore", ".gitignore", "training/dvc.yaml"):
        shutil.copy(ROOT / name, folder / name)
    config = yaml.safe_dump(tiny("train.epochs=3").model_dump(mode="json"))
    (folder / "training" / "config.yaml").write_text(config)
    draw_folders(folder / "pictures", 40)
    shell(folder, "git init -q -b main && git add . && git commit -q -m Project", environment())
    return folder


@contextmanager
def seaweedfs(block: Block, folder: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """Run the server of a page's block on free ports; yield its address, and the variables with its keys."""
    numbers = free_ports(2 * len(PORTS))
    options = [f"-{name}={port}" for name, port in zip((f"{part}.port" for part in PORTS), numbers, strict=False)]
    options += [f"-{part}.port.grpc={port}" for part, port in zip(PORTS, numbers[len(PORTS) :], strict=True)]
    text = block.text.replace("weed mini", f"exec weed mini {' '.join(options)}")
    log = folder / "weed.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            ["bash", "-e", "-c", text], cwd=folder, env=environment(), stdout=output, stderr=subprocess.STDOUT
        )
    url = f"http://127.0.0.1:{numbers[0]}"
    try:
        until_it_answers(url, process, log)
        yield url, dict(word.split("=", 1) for word in shlex.split(block.commands[0])[1:])
    finally:
        process.terminate()
        process.wait(60)


def until_it_answers(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until the server refuses a request without a signature."""
    end = time.monotonic() + START_S
    while time.monotonic() < end and process.poll() is None:
        with suppress(httpx.TransportError):
            if httpx.get(url, trust_env=False, timeout=5).status_code == 403:
                return
        time.sleep(0.1)
    raise AssertionError(log.read_text(errors="replace"))
