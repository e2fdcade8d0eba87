"""The training image, run in full on a few hundred pictures, stopped on the way, and run again: `make e2e-train`."""

import json
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.image.test_serve import CLOSED, docker
from tests.petimages import copy_some

IMAGE = os.environ.get("CATSDOGS_TRAIN_IMAGE", "catsdogs-train:e2e")
RECIPE = ("model.weights=null", "train.epochs=3", "train.min_size=64", "train.max_size=64", "train.batch_size=32")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_some(tmp_path_factory.mktemp("pictures"))


@pytest.fixture(scope="module")
def volumes() -> Iterator[tuple[str, str]]:
    """Yield the names of two volumes, for the data and the store, as the image's comment says."""
    names = [docker("volume", "create").strip() for _ in range(2)]
    yield names[0], names[1]
    docker("volume", "rm", *names)


def command(pictures: Path, volumes: tuple[str, str]) -> list[str]:
    data, store = volumes
    mounts = [f"-v={pictures}:/pictures:ro", f"-v={data}:/data", f"-v={store}:/model-store"]
    closed = [*CLOSED, "--tmpfs=/tmp", "--network=none", "--shm-size=1g", "--env=HOME=/tmp"]
    arguments = ["pipeline", "/pictures", "--data", "/data", "--store", "/model-store", "--allow-poor"]
    arguments += [word for setting in RECIPE for word in ("--set", setting)]
    return ["run", "--rm", *closed, *mounts, IMAGE, *arguments]


def files(volumes: tuple[str, str]) -> list[str]:
    script = "import pathlib; print(*(p for p in pathlib.Path('/model-store').rglob('*') if p.is_file()), sep='\\n')"
    return docker("run", "--rm", f"-v={volumes[1]}:/model-store", "--entrypoint=python", IMAGE, "-c", script).split()


def test_it_goes_on_where_it_was_killed_and_writes_a_checkpoint_and_an_archive(
    pictures: Path, volumes: tuple[str, str]
) -> None:
    name = f"catsdogs-train-{os.getpid()}"
    child = subprocess.Popen(
        ["docker", *command(pictures, volumes)[:1], f"--name={name}", *command(pictures, volumes)[1:]],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    for line in child.stdout:
        if line.startswith("epoch   1/3"):
            docker("kill", name)
            break
    child.communicate()
    assert child.returncode not in (0, 1, 2)

    done = subprocess.run(["docker", *command(pictures, volumes)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "epoch   1/3" not in done.stdout
    assert "epoch   3/3" in done.stdout
    paths = files(volumes)
    for name in ("runs/catsdogs/best.pt", "catsdogs/release.json", "catsdogs/MODEL_CARD.md", "catsdogs.mar"):
        assert f"/model-store/{name}" in paths


def test_a_third_run_finds_all_done(pictures: Path, volumes: tuple[str, str]) -> None:
    started = time.monotonic()
    done = subprocess.run(["docker", *command(pictures, volumes)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "epoch" not in done.stdout
    print(f"{time.monotonic() - started:.0f} s")


def test_its_user_is_a_number_that_is_not_roots() -> None:
    (facts,) = json.loads(docker("image", "inspect", IMAGE))
    assert facts["Config"]["User"] == "10001:10001"
