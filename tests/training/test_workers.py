"""Processes that load pictures: short of shared memory, of open files, of memory, and with pictures that are gone."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from handler.files import UserError
from handler.preprocess import InputSpec
from tests.training.train_support import FEW_CORES, TINY, command, draw, draw_manifest, settings
from training.data import workers
from training.data.loaders import EvalPictures, eval_loader
from training.data.manifest import Manifest
from training.data.workers import deaths_explained

pytestmark = pytest.mark.filterwarnings(FEW_CORES)
MOUNTS = sys.platform == "linux" and subprocess.run(["unshare", "--mount", "true"], capture_output=True).returncode == 0
needs_mounts = pytest.mark.skipif(not MOUNTS, reason="a small /dev/shm is mounted, which takes root and unshare")


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    return draw_manifest(tmp_path, {"train": 12, "val": 8, "test": 8})


@pytest.fixture(autouse=True)
def quiet_before() -> None:
    workers._say.cache_clear()


def pixels(manifest: Manifest, processes: int) -> torch.Tensor:
    pictures = EvalPictures(manifest.root, manifest.pictures, manifest.classes, InputSpec(96))
    return torch.cat([batch for batch, _ in eval_loader(pictures, processes, batch_size=8)])


@pytest.mark.parametrize("free", [0, 2**20, 2**40])
def test_batches_are_the_same_whatever_is_left_of_the_shared_memory(
    manifest: Manifest, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], free: int
) -> None:
    alone = pixels(manifest, 0)
    monkeypatch.setattr(workers, "_free", lambda: free)
    assert torch.equal(pixels(manifest, 2), alone)
    assert torch.equal(pixels(manifest, 2), alone)
    stderr = capsys.readouterr().err
    if free < 2**30:
        assert stderr.startswith("/dev/shm has ")
        assert stderr.endswith(
            "they go through pipes, which is slower. Give a container more, as by docker run --shm-size=1g.\n"
        )
        assert stderr.count("\n") == 1
    else:
        assert stderr == ""


def test_where_no_process_can_be_started_this_one_loads_the_pictures(
    manifest: Manifest, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    alone = pixels(manifest, 0)

    def no_fork() -> int:
        raise OSError(12, "Cannot allocate memory")

    monkeypatch.setattr(os, "fork", no_fork)
    assert torch.equal(pixels(manifest, 2), alone)
    assert capsys.readouterr().err == (
        "No process can be started to load pictures (Cannot allocate memory): this one loads them, which is slower.\n"
    )


def remove(path: Path) -> None:
    path.unlink()


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-200])


def swap(path: Path) -> None:
    draw("dog", 12345).save(path)


DAMAGES = [
    (remove, r"cannot be read \(No such file or directory\): put it back, or run catsdogs prepare again\.$"),
    (cut, r"was changed after it was prepared: put it back as it was, or run catsdogs prepare again\.$"),
    (swap, r"was changed after it was prepared: put it back as it was, or run catsdogs prepare again\.$"),
]


@pytest.mark.parametrize("processes", [0, 2])
@pytest.mark.parametrize(("damage", "sentence"), DAMAGES)
def test_a_picture_that_is_not_the_one_that_was_prepared_is_named(
    manifest: Manifest, damage: Callable[[Path], None], sentence: str, processes: int
) -> None:
    path = manifest.root / manifest.pictures[7].path
    damage(path)
    with pytest.raises(UserError, match=f"^{path} {sentence}"):
        pixels(manifest, processes)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_process_that_is_killed_ends_the_run_with_a_sentence(manifest: Manifest, number: int) -> None:
    reader, writer = os.pipe()

    class Dying(EvalPictures):
        def __getitem__(self, index: int) -> object:  # type: ignore[override]
            if index == 9:
                os.write(writer, b".")
                os.kill(os.getpid(), number)
            return super().__getitem__(index)

    pictures = Dying(manifest.root, manifest.pictures, manifest.classes, InputSpec(96))
    sentence = r"^A process that loads pictures \(pid \d+\) .*: set fewer train\.workers"
    with pytest.raises(UserError, match=sentence), deaths_explained():
        list(eval_loader(pictures, 2, batch_size=8))
    assert os.read(reader, 1)


def test_a_limit_of_open_files_is_raised_where_it_may_be() -> None:
    code = (
        "import resource; from training.data.workers import _allows\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (100, 400))\n"
        "assert _allows(300) and resource.getrlimit(resource.RLIMIT_NOFILE) == (300, 400)\n"
        "assert not _allows(500) and resource.getrlimit(resource.RLIMIT_NOFILE) == (400, 400)\n"
    )
    assert command("-c", code).returncode == 0


def train(folder: Path, prepare: str) -> tuple[int, str]:
    """Return status and stderr of `catsdogs train` with batches of 0.4 MB, after its imports and some code."""
    arguments = ["catsdogs", "train", "--data", str(folder / "data"), "--run", str(folder / "run")]
    sizes = ("train.batch_size=8", "train.min_size=128", "train.max_size=128", "train.epochs=1", "input.size=128")
    arguments += settings([*TINY, *sizes, "train.workers=2"])
    code = f"import sys, catsdogs, training.learning.train\n{prepare}\nsys.argv = {arguments!r}\ncatsdogs.main()\n"
    # Not a fork of this process: torch refuses to train in one whose parent has trained.
    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    return done.returncode, done.stderr


# Mounts of this process alone from here on.
OWN_MOUNTS = """
import ctypes, subprocess
if ctypes.CDLL(None, use_errno=True).unshare(0x20000):
    raise OSError(ctypes.get_errno(), "unshare")
subprocess.run(["mount", "--make-rprivate", "/"], check=True)
"""


@needs_mounts
@pytest.mark.parametrize("megabytes", [1, pytest.param(64, marks=pytest.mark.slow)])
def test_a_small_shared_memory_slows_a_run_down_and_does_not_end_it(tmp_path: Path, megabytes: int) -> None:
    draw_manifest(tmp_path, {"train": 8, "val": 4})

    mount = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", "/dev/shm"]
    status, stderr = train(tmp_path, f"{OWN_MOUNTS}\nsubprocess.run({mount!r}, check=True)")
    assert status == 0, stderr
    assert "Traceback" not in stderr
    assert (f"/dev/shm has {megabytes} MB, too few for the batches in flight" in stderr) == (megabytes < 64)


def test_few_open_files_slow_a_run_down_and_do_not_end_it(tmp_path: Path) -> None:
    draw_manifest(tmp_path, {"train": 8, "val": 4})

    limit = "import os, resource; os.closerange(3, 4096); resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))"
    status, stderr = train(tmp_path, limit)
    assert status == 0, stderr
    assert "Traceback" not in stderr
