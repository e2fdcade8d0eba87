import random
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch

from training.learning import runtime
from training.learning.runtime import Group

GPU, CPU = torch.device("cuda", 0), torch.device("cpu")


@pytest.mark.parametrize(("setting", "wanted"), [("off", None), ("bf16", torch.bfloat16), ("fp16", torch.float16)])
@pytest.mark.parametrize("device", [CPU, GPU])
def test_a_named_precision_is_taken_whatever_the_device(
    setting: str, wanted: torch.dtype | None, device: torch.device
) -> None:
    assert runtime.choose_amp(setting, device) == wanted


@pytest.mark.parametrize(("native", "wanted"), [(True, torch.bfloat16), (False, torch.float16)])
def test_a_gpu_gets_bfloat16_where_it_is_native_else_float16(
    native: bool, wanted: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bool] = []

    def supported(including_emulation: bool = True) -> bool:
        asked.append(including_emulation)
        return native

    monkeypatch.setattr(torch.cuda, "is_bf16_supported", supported)
    assert runtime.choose_amp("auto", GPU) == wanted
    assert asked == [False]


@pytest.mark.parametrize(
    ("tiles", "vectors", "wanted"),
    [(True, True, torch.bfloat16), (False, True, torch.bfloat16), (False, False, None)],
)
def test_a_processor_gets_bfloat16_where_it_multiplies_it_natively_else_float32(
    tiles: bool, vectors: bool, wanted: torch.dtype | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: tiles)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: vectors)
    assert runtime.choose_amp("auto", CPU) == wanted


@pytest.mark.parametrize(("gpus", "wanted"), [(True, torch.device("cuda", 2)), (False, CPU)])
def test_a_process_takes_the_gpu_of_its_number_where_there_are_any(
    gpus: bool, wanted: torch.device, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus)
    assert runtime.choose_device(2) == wanted


def drawn() -> tuple[float, float, float]:
    return random.random(), float(np.random.rand()), float(torch.rand(()))


def test_a_seed_settles_every_generator() -> None:
    results = []
    for seeds in [(1,), (1,), (2,), (1, 0), (1, 0), (0, 1), (1, 0, 1)]:
        runtime.seed_everything(*seeds)
        results.append(drawn())
    first, again, other, pair, pair_again, turned, third = results
    assert first == again
    assert pair == pair_again
    assert len({first, other, pair, turned, third}) == 5


def test_outside_of_torchrun_a_process_is_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    with runtime.process_group() as group:
        assert (group.rank, group.world) == (0, 1)
    assert not torch.distributed.is_initialized()


def test_alone_a_sum_is_what_it_was_and_nobody_is_waited_for() -> None:
    group, tensor = Group(0, 1, CPU), torch.ones(2)
    assert group.sum([1.5, 2]) == [1.5, 2]
    group.wait()
    group.spread([tensor])
    assert tensor.tolist() == [1, 1]


def git(folder: Path, *arguments: str) -> str:
    who = ["-c", "user.name=a", "-c", "user.email=a@b"]
    return subprocess.run(
        ["git", *who, *arguments], cwd=folder, check=True, capture_output=True, text=True
    ).stdout.strip()


def test_the_commit_is_named_with_what_differs_from_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "REPOSITORY", tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert runtime.git_sha() == "unknown"
    git(tmp_path, "init", "-q")
    (tmp_path / "file").write_text("one")
    git(tmp_path, "add", "file")
    git(tmp_path, "commit", "-q", "-m", "first")
    sha = git(tmp_path, "rev-parse", "HEAD")
    assert runtime.git_sha() == sha
    (tmp_path / "file").write_text("two")
    assert runtime.git_sha() == f"{sha}-dirty"


def test_without_git_the_commit_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert runtime.git_sha() == "unknown"


def test_the_libraries_are_written_down_by_version() -> None:
    assert set(runtime.versions()) == {"torch", "torchvision", "numpy", "pillow"}
    assert torch.__version__.startswith(runtime.versions()["torch"])
