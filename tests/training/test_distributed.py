"""Two processes on this machine, started by torchrun and joined by gloo, as a real command."""

import subprocess
from pathlib import Path

import pytest
import torch

from tests.training.train_support import TINY, command, draw_manifest, history, settings, tiny
from training.data import manifest as manifests
from training.learning.checkpoint import load_checkpoint, load_trained
from training.learning.train import train

# Each process has a share of a batch, and norms that see another share give other weights.
SAME = ("train.epochs=2", "train.batch_size=8", "model.freeze_norms=true")


def two(folder: Path, run: str, *overrides: str, resume: bool = False) -> subprocess.CompletedProcess[str]:
    return command(
        "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m",
        "--",  # torchrun would take our --run for one of its own
        "catsdogs", "train",
        "--data", folder / "data", "--run", folder / run, "--cache", folder / "cache", *settings([*TINY, *overrides]),
        *(["--resume"] if resume else []),
        CUDA_VISIBLE_DEVICES="", GLOO_SOCKET_IFNAME="lo",
    )  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with data/ of a manifest; its seven validation pictures are shared unevenly."""
    folder = tmp_path_factory.mktemp("distributed")
    draw_manifest(folder, {"train": 12, "val": 3})
    return folder


@pytest.fixture(scope="module")
def done(folder: Path) -> subprocess.CompletedProcess[str]:
    return two(folder, "two", *SAME)


def assert_as_alone(folder: Path, run: str, *overrides: str) -> None:
    train(tiny(*overrides), manifests.read(folder / "data"), folder / f"{run}-alone", cache=folder / "cache-alone")
    ours, alone = (load_checkpoint(folder / name / "last.pt") for name in (run, f"{run}-alone"))
    for kind in ("model", "ema"):
        first, second = getattr(ours, kind), getattr(alone, kind)
        assert first.keys() == second.keys()
        for name in first:
            torch.testing.assert_close(first[name], second[name], rtol=1e-5, atol=1e-5, msg=f"{kind}/{name}")
    for row, same in zip(history(folder / run), history(folder / f"{run}-alone"), strict=True):
        assert row["train_loss"] == pytest.approx(same["train_loss"], abs=1e-5)
        assert row["val_loss"] == pytest.approx(same["val_loss"], abs=1e-5)
        assert row["val_accuracy"] == same["val_accuracy"]


def test_two_processes_agree_with_one(folder: Path, done: subprocess.CompletedProcess[str]) -> None:
    assert done.returncode == 0, done.stderr
    assert_as_alone(folder, "two", *SAME)


def test_the_first_process_alone_prints(folder: Path, done: subprocess.CompletedProcess[str]) -> None:
    *epochs, best = done.stdout.splitlines()
    assert [line.split()[:2] for line in epochs] == [["epoch", "1/2"], ["epoch", "2/2"]]
    assert best.startswith(f"best checkpoint: {folder / 'two' / 'best.pt'}")


def test_the_first_process_alone_writes_and_leaves_what_one_process_can_read(
    folder: Path, done: subprocess.CompletedProcess[str]
) -> None:
    names = sorted(path.name for path in (folder / "two").iterdir())
    assert names == ["best.pt", "config.yaml", "curves.png", "history.csv", "last.pt"]
    assert len(history(folder / "two")) == 2
    load_trained(load_checkpoint(folder / "two" / "best.pt"))


@pytest.mark.slow
def test_a_batch_that_cannot_be_shared_evenly_is_answered_by_one_sentence(folder: Path) -> None:
    failed = two(folder, "uneven", "train.batch_size=5")
    assert failed.returncode != 0
    ours = [line for line in failed.stderr.splitlines() if "catsdogs: " in line]
    assert ours
    assert {line[line.index("catsdogs: ") :] for line in ours} == {
        "catsdogs: 2 processes cannot share a batch of 5 evenly."
    }
    assert not (folder / "uneven").exists()


@pytest.mark.slow
@pytest.mark.parametrize("extra", ["model.freeze_backbone=true", "train.decoded_side=32"])
def test_two_processes_share_what_is_computed_ahead_and_agree_with_one(folder: Path, extra: str) -> None:
    run = extra.partition("=")[0]
    done = two(folder, run, *SAME, extra)
    assert done.returncode == 0, done.stderr
    assert_as_alone(folder, run, *SAME, extra)


@pytest.mark.slow
def test_two_processes_go_on_where_two_processes_stopped(folder: Path, done: subprocess.CompletedProcess[str]) -> None:
    # The run of one epoch is no run of two that was stopped: its learning rate is another. So a whole run goes on.
    again = two(folder, "two", *SAME, resume=True)
    assert again.returncode == 0, again.stderr
    assert load_checkpoint(folder / "two" / "last.pt").epoch == 2
