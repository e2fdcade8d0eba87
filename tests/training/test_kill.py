"""A run that is killed by -9 at any moment, and goes on by the same command with --resume, ends as it would have."""

import json
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import torch

from tests.training.export_support import kill_when, run_command
from tests.training.train_support import TINY, assert_equal_weights, draw_manifest, settings, tiny
from training.learning.checkpoint import load_checkpoint
from training.learning.model import build
from training.learning.train import train as run_training

# Imports torch once, then runs the command in children, each of which kills itself before the n-th thing that it does
# to the file system: reads a picture, writes, renames.
KILLER = """
import json, os, shutil, signal, sys, traceback
from pathlib import Path

import catsdogs
import training.learning.train
import training.learning.views
from handler.files import write_atomic
from tests.training.train_support import assert_equal_weights, history

folder, first, stride, overrides = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4:]
training.learning.views.SHARD = 4
# Both take longer than an epoch, and a kill loses nothing that was written.
training.learning.train.draw_curves = lambda rows, path: write_atomic(path, b"curves")
os.fsync = lambda descriptor: None


def attempt(name, fatal, *resume):
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    mine, done = os.getpid(), 0

    def audit(event, arguments):
        nonlocal done
        if event in ("open", "os.rename") and str(folder) in str(arguments[0]) and os.getpid() == mine:
            done += 1
            if done == fatal:
                os.kill(mine, signal.SIGKILL)

    sys.addaudithook(audit)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    places: list[str | Path] = ["--data", folder / "data", "--run", folder / name, "--cache", folder / f"{name}-cache"]
    sys.argv = ["catsdogs", "train", *map(str, places), *overrides, *resume]
    try:
        catsdogs.main()
    except SystemExit as end:
        sys.stderr.flush()
        os._exit(end.code or 0)
    except BaseException:
        traceback.print_exc()
    os._exit(1)


def rows(name):
    return [[row[key] for key in ("epoch", "train_loss", "val_loss", "val_accuracy")] for row in history(folder / name)]


assert attempt("whole", 0) == 0
kills, wrong = 0, []
for fatal in range(first, 10_000, stride):
    if attempt("run", fatal) == 0:
        break
    kills += 1
    try:
        assert attempt("run", 0, "--resume") == 0, "it does not go on"
        for name in ("last.pt", "best.pt"):
            assert_equal_weights(folder / "run", folder / "whole", name)
        assert rows("run") == rows("whole"), "another history"
    except AssertionError as error:
        wrong.append(f"killed before the {fatal}th: {error}")
    for name in ("run", "run-cache"):
        shutil.rmtree(folder / name, ignore_errors=True)
print(json.dumps({"kills": kills, "wrong": wrong}))
"""
FROZEN = ("model.freeze_backbone=true",)
TAUGHT = ("distill.teacher=baseline", "distill.teacher_weights={teacher}", "train.epochs=2")
DECODED = ("train.decoded_side=32", "train.epochs=2")


def kill_often(folder: Path, overrides: tuple[str, ...], stride: int) -> dict[str, object]:
    draw_manifest(folder, {"train": 6, "val": 1})
    torch.manual_seed(11)
    torch.save(build("baseline", 5).backbone.state_dict(), folder / "teacher.pt")
    overrides = tuple(value.format(teacher=folder / "teacher.pt") for value in overrides)
    done = subprocess.run(
        [sys.executable, "-c", KILLER, folder, "1", str(stride), *settings([*TINY, *overrides])],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    result: dict[str, object] = json.loads(done.stdout)
    return result


@pytest.mark.parametrize(
    "overrides", [pytest.param(TAUGHT, id="taught"), pytest.param(DECODED, id="decoded", marks=pytest.mark.slow)]
)
def test_a_kill_at_many_moments_changes_no_bit_of_what_comes_out(tmp_path: Path, overrides: tuple[str, ...]) -> None:
    result = kill_often(tmp_path, overrides, stride=17)
    assert result["wrong"] == []
    assert int(str(result["kills"])) >= 3


@pytest.mark.slow
@pytest.mark.parametrize("overrides", [(), FROZEN, TAUGHT, DECODED], ids=["plain", "frozen", "taught", "decoded"])
def test_a_kill_at_every_moment_changes_no_bit_of_what_comes_out(tmp_path: Path, overrides: tuple[str, ...]) -> None:
    result = kill_often(tmp_path, overrides, stride=1)
    assert result["wrong"] == []
    assert int(str(result["kills"])) >= 40


def train(folder: Path, run: str, *overrides: str) -> list[str | Path]:
    places: list[str | Path] = ["--data", folder / "data", "--run", folder / run, "--cache", folder / f"{run}-cache"]
    return ["train", *places, *settings([*TINY, *overrides])]


def test_a_process_that_is_killed_after_its_first_checkpoint_goes_on_by_the_same_command(tmp_path: Path) -> None:
    manifest = draw_manifest(tmp_path, {"train": 40, "val": 2})
    run_training(tiny(), manifest, tmp_path / "whole")
    last = tmp_path / "run" / "last.pt"
    kill_when(last.exists, *train(tmp_path, "run"))
    assert load_checkpoint(last).epoch < 3
    run_command(*train(tmp_path, "run"), "--resume")
    assert_equal_weights(tmp_path / "run", tmp_path / "whole")


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("overrides", [FROZEN, ("train.decoded_side=36", "train.epochs=1")], ids=["frozen", "decoded"])
def test_a_process_that_is_killed_before_its_first_epoch_leaves_no_process_and_goes_on(
    tmp_path: Path, overrides: tuple[str, ...], workers: int
) -> None:
    draw_manifest(tmp_path, {"train": 700, "val": 2})
    settings_of_run = (*overrides, "model.arch=resnet18", f"train.workers={workers}")
    run_command(*train(tmp_path, "whole", *settings_of_run))

    def at_work() -> bool:
        return any((tmp_path / "run-cache").glob("*/*.npz")) or any((tmp_path / "run-cache").glob("*/.pixels.u8*"))

    def workers_of_run() -> list[int]:
        mine = str(tmp_path / "run-cache")
        return [p.pid for p in psutil.process_iter(["cmdline"]) if mine in " ".join(p.info["cmdline"] or [])]

    kill_when(at_work, *train(tmp_path, "run", *settings_of_run))
    assert not (tmp_path / "run" / "last.pt").exists()
    psutil.wait_procs([psutil.Process(pid) for pid in workers_of_run()], timeout=30)
    assert workers_of_run() == []
    run_command(*train(tmp_path, "run", *settings_of_run), "--resume")
    assert_equal_weights(tmp_path / "run", tmp_path / "whole")
