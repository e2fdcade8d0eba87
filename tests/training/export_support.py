"""Checkpoints of any network without training, and the command in a process that can be killed."""

import copy
import dataclasses
import functools
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from handler.files import sha256_file
from handler.predictor import Predictor
from training.learning.checkpoint import Checkpoint
from training.learning.model import Classifier, build

FILES = ["MODEL_CARD.md", "model.onnx", "model.safetensors", "release.json", "trained_on.bin"]
HASHED = ("model.onnx", "model.safetensors", "trained_on.bin")


@functools.cache
def settled(arch: str, size: int) -> Classifier:
    """A network with random weights whose norms have seen noise at this size, so that its answers are of usual size."""
    torch.manual_seed(0)
    model = build(arch, 2)
    rng = np.random.default_rng(0)
    noise = rng.integers(20, 236, (32, 1, 1, 3)) + rng.integers(-20, 20, (32, size, size, 3))
    with torch.no_grad():
        for _ in range(30):
            model.train()(torch.from_numpy(noise.astype(np.uint8)))
    return model.eval()


def untrained(arch: str, like: Checkpoint) -> Checkpoint:
    """The same checkpoint, of another network."""
    config = copy.deepcopy(like.config)
    config["model"]["arch"] = arch
    state = settled(arch, config["input"]["size"]).state_dict()
    return dataclasses.replace(like, model=copy.deepcopy(state), ema=copy.deepcopy(state), optimizer={}, config=config)


def assert_whole(release: Path, version: str) -> None:
    """The files of one release, which answers as it says."""
    assert sorted(path.name for path in release.iterdir()) == FILES
    values = json.loads((release / "release.json").read_bytes())
    assert values["version"] == version
    assert values["files"] == {name: sha256_file(release / name) for name in HASHED}
    Predictor(release, "ort")


def kill_when(condition: Callable[[], bool], *arguments: str | Path) -> None:
    """Starts the command and kills it as soon as a condition holds; fails where it ends before or is too slow."""
    process = subprocess.Popen(
        [sys.executable, "-m", "catsdogs", *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    with process:
        deadline = time.monotonic() + 120
        while not condition():
            assert time.monotonic() < deadline, "it took too long"
            try:
                process.wait(timeout=0.002)
            except subprocess.TimeoutExpired:
                continue
            assert process.stderr is not None
            raise AssertionError(f"it ended before it was killed: {process.stderr.read().decode()}")
        process.kill()
    assert process.returncode == -9


def run_command(*arguments: str | Path) -> None:
    done = subprocess.run([sys.executable, "-m", "catsdogs", *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
