"""kill -9 and full disks: nothing half-made is left, the old release or archive stays, and the same command works."""

import errno
import os
import resource
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from handler.files import UserError, sha256_file
from handler.release import read_release, scratch_of
from serving.server.archive import read_archive
from tests.training.export_support import FILES, assert_whole, kill_when, run_command, untrained
from tests.zoo import ROOT
from training.data.manifest import Manifest
from training.learning.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from training.release.export import export
from training.release.package import package

RELEASED = ROOT / "model-store" / "catsdogs"
Disk = Callable[[int], Path]


@pytest.fixture(scope="module")
def small(run: Path) -> Checkpoint:
    return untrained("baseline", load_checkpoint(run / "best.pt"))


@pytest.fixture(scope="module")
def small_release(small: Checkpoint, manifest: Manifest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("small") / "release"
    export(small, manifest, folder, "1", None)
    return folder


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["made", "made/model.onnx"])
def test_an_export_that_is_killed_leaves_the_old_release_and_works_the_next_time(
    small: Checkpoint, small_release: Path, data: Path, tmp_path: Path, moment: str
) -> None:
    save_checkpoint(small, tmp_path / "best.pt")
    old = shutil.copytree(small_release, tmp_path / "store" / "mine")
    command: list[str | Path] = [
        "export",
        "--data",
        data,
        "--run",
        tmp_path,
        "--out",
        old,
        "--version",
        "2",
        "--allow-poor",
    ]
    kill_when((scratch_of(old) / moment).exists, *command)
    assert_whole(old, "1")
    assert names(old.parent) == [".mine.new", "mine"]
    run_command(*command)
    assert_whole(old, "2")
    assert names(old.parent) == ["mine", "releases"]


@pytest.mark.parametrize(
    "moment",
    [*(pytest.param(moment, marks=pytest.mark.slow) for moment in ("made", "made/exported")), "made/staged/model.mnn"],
)
def test_a_package_that_is_killed_leaves_the_old_archive_and_works_the_next_time(
    small_release: Path, tmp_path: Path, moment: str
) -> None:
    archive = tmp_path / "mine.mar"
    old = package(small_release, archive)
    # The repository's own release: large enough that each moment lasts.
    command: list[str | Path] = ["package", RELEASED, "--out", archive]
    kill_when((scratch_of(archive) / moment).exists, *command)
    assert sha256_file(archive) == old
    assert names(tmp_path) == [".mine.mar.new", "mine.mar"]
    run_command(*command)
    assert read_archive(archive).version == read_release(RELEASED).version
    assert names(tmp_path) == ["mine.mar"]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    """disk(size): a file system of so many bytes; its size may be changed by another call."""
    place = tmp_path / "disk"
    place.mkdir()

    def sized(size: int) -> Path:
        again = ["-o", f"remount,size={size}"] if os.path.ismount(place) else ["-o", f"size={size}"]
        subprocess.run(["mount", "-t", "tmpfs", *again, "tmpfs", place], check=True)
        return place

    yield sized
    if os.path.ismount(place):
        subprocess.run(["umount", place], check=True)


def used(folder: Path) -> int:
    """Bytes in whole blocks."""
    return sum(-(-path.stat().st_size // 4096) * 4096 for path in folder.rglob("*") if path.is_file())


@pytest.mark.skipif(os.getuid() != 0, reason="only root can mount a small disk; the next test stands in for it")
@pytest.mark.parametrize("share", [0.02, 0.2, 0.5, 0.8])
def test_a_full_disk_stops_an_export_and_leaves_the_old_release_alone(
    small: Checkpoint, small_release: Path, manifest: Manifest, disk: Disk, share: float
) -> None:
    # Of what a new release takes: the weights, and while runtimes are compared, a model file of each.
    taken = used(small_release)
    store = disk(16 * taken)
    shutil.copytree(small_release, store / "mine")
    disk(taken + int(2 * taken * share))
    with pytest.raises(OSError, match="No space left on device") as raised:
        export(small, manifest, store / "mine", "2", None)
    assert raised.value.errno == errno.ENOSPC
    assert_whole(store / "mine", "1")
    assert names(store) == ["mine"]
    disk(16 * taken)
    export(small, manifest, store / "mine", "2", None)
    assert_whole(store / "mine", "2")


@pytest.mark.skipif(os.getuid() != 0, reason="only root can mount a small disk; the next test stands in for it")
@pytest.mark.parametrize("runtime", ["mnn", "ort"])
@pytest.mark.parametrize("share", [0.01, 0.2, 0.4, 0.6, 0.8])
def test_a_full_disk_stops_packing_and_leaves_the_old_archive_alone(
    small_release: Path, disk: Disk, tmp_path: Path, runtime: str, share: float
) -> None:
    # Of three times what the archive holds: laid out and copied twice by the archiver.
    old = package(small_release, tmp_path / "mine.mar", runtime)
    taken = (tmp_path / "mine.mar").stat().st_size
    store = disk(16 * taken)
    shutil.copyfile(tmp_path / "mine.mar", store / "mine.mar")
    disk(used(store) + int(3 * taken * share))
    with pytest.raises((OSError, UserError), match="No space left on device"):
        package(small_release, store / "mine.mar", runtime)
    assert sha256_file(store / "mine.mar") == old
    assert names(store) == ["mine.mar"]


def test_a_file_that_cannot_be_written_whole_leaves_nothing(
    small: Checkpoint, small_release: Path, manifest: Manifest, tmp_path: Path
) -> None:
    """Files end at a limit of the process here, which every user can set; a full disk ends them in the same way."""
    usual = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, ((small_release / "model.safetensors").stat().st_size // 2, usual[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            export(small, manifest, tmp_path / "release", "1", None)
        with pytest.raises(OSError, match="File too large"):
            package(small_release, tmp_path / "mine.mar")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, usual)
    assert names(tmp_path) == []
    assert read_release(small_release).version == "1"
    assert names(small_release) == FILES
